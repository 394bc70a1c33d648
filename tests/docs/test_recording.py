"""The recording of the first run: it shows the README's commands, and nothing that belongs to a machine or a person."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import pytest
from tests.support.newcomer import TREE, quick_start
from tests.support.process import REPOSITORY
from tests.support.recording import API_KEY, INSTEAD, PROMPT, _lines
from tests.support.room import PUBLIC4

_CAST = REPOSITORY / "docs" / "first-run.cast"
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+(?![\d.])")
_ESCAPE = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def events() -> list[tuple[float, str]]:
    """The events of the cast, whose header says how it is to be shown."""
    header, *lines = map(json.loads, _CAST.read_text(encoding="utf-8").splitlines())
    assert (header["version"], header["width"] > 80, header["height"] > 24) == (2, True, True)
    assert {kind for _, kind, _ in lines} == {"o"}
    return [(at, text) for at, _, text in lines]


@pytest.fixture(scope="module")
def screen(events: list[tuple[float, str]]) -> str:
    """All that is shown, without colours."""
    return _ESCAPE.sub("", "".join(text for _, text in events)).replace("\r\n", "\n")


def test_times_rise(events: list[tuple[float, str]]) -> None:
    """A player shows the events in their order."""
    times = [at for at, _ in events]
    assert times == sorted(times)
    assert times[0] >= 0


def test_it_shows_the_commands_of_the_readme(screen: str) -> None:
    """As they stand there now, up to the link of a key; scripts/record-first-run.sh records them again."""
    typed = re.findall(rf"^{re.escape(PROMPT)}(.+)$", screen, re.MULTILINE)
    assert typed[: len(quick_start(REPOSITORY / "README.md"))] == quick_start(REPOSITORY / "README.md")
    assert re.search(r"^vless://\S+$", screen, re.MULTILINE)


def test_it_shows_nothing_of_a_machine(screen: str) -> None:
    """No API key, and no path, host or address but those of the guest, which is gone."""
    assert API_KEY.findall(screen) == []
    assert INSTEAD in screen
    assert set(_ADDRESS.findall(screen)) <= {PUBLIC4, "0.0.0.0"}  # noqa: S104 - a text
    assert set(re.findall(r"https?://([^/:\s]+)", screen)) <= {PUBLIC4}
    allowed = (TREE, "/opt/vpnkeys", "/var/lib/vpnkeys", "/usr/bin/", "/ui/", "/etc/systemd")
    paths = re.findall(r"(?<![\w:./])/[\w.-]+/[\w./-]*", screen)
    assert [path for path in paths if not path.startswith(allowed)] == []


@pytest.mark.parametrize("parts", [["a: k", "e", "y\nb"], ["a: key\n", "b"], ["a: key\nb"]])
def test_a_line_is_never_cut(parts: Iterable[str]) -> None:
    """However it comes."""
    assert list(_lines(parts)) == ["a: key\n", "b"]
