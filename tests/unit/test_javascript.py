"""The checks of the dashboard's JavaScript have no way around them, and their tools are pinned by digest."""

from __future__ import annotations

import json
import re

import pytest
from tests.support.process import REPOSITORY

_WEB = REPOSITORY / "src" / "vpnkeys" / "web"
_OURS = [
    *_WEB.glob("ui/js/**/*.js"),
    *_WEB.glob("ui/i18n/*.js"),
    _WEB / "docs" / "page.js",
    *_WEB.glob("types/**/*.d.ts"),
]
_WAYS_AROUND = re.compile(r"@ts-(ignore|nocheck|expect-error)|eslint-disable|\bany\b(?=[\[\]|&,;>)}])")


def test_the_lock_file_pins_every_tool_by_its_digest() -> None:
    """It names no address, so that npm takes the packages from the registry that the machine is set up for."""
    text = (REPOSITORY / "tests" / "js" / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    del packages[""]  # our own package.json
    assert len(packages) > 10
    assert "resolved" not in text
    assert "://" not in text
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())


@pytest.mark.parametrize(
    ("line", "is_a_way"),
    [
        ("// @ts-ignore", True),
        ("/* eslint-disable no-undef */", True),
        ("/** @param {any} key */", True),
        ("/** @type {Map<string, any>} */", True),
        ("// Undoes the newest action and returns whether there was any.", False),
    ],
)
def test_a_way_around_is_recognised(line: str, is_a_way: bool) -> None:
    """Comments that switch a check off, and the type that fits everything."""
    assert bool(_WAYS_AROUND.search(line)) == is_a_way


def test_no_file_switches_a_check_off() -> None:
    """Neither the compiler nor the linter."""
    assert len(_OURS) > 40
    assert [str(file) for file in _OURS if _WAYS_AROUND.search(file.read_text(encoding="utf-8"))] == []
