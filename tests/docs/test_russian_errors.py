"""The dashboard has a Russian sentence for every error that the API can answer, and for every outcome of a test."""

import re
from importlib.resources import files
from pathlib import Path

from vpnkeys.wire.keys import KeyTest

_ENTRY = re.compile(r'^  "?([a-z_.]+)"?: "[^"]*[А-Яа-я][^"]*",$')
_PAGE = Path(__file__).parents[2] / "docs" / "ru" / "troubleshooting.md"
_ROW = re.compile(r"^\| `([a-z_]+)` \| \d{3} \|", re.MULTILINE)


def entries() -> set[str]:
    """The names in the dashboard's table."""
    text = files("vpnkeys").joinpath("web", "ui", "i18n", "ru-errors.js").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("  ")]
    found = [_ENTRY.match(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if not match]
    return {match[1] for match in found if match}


def test_every_error_that_is_answered_has_its_sentence() -> None:
    """Those of the page of troubles with a status, which another test compares with the source; and no others."""
    known = set(_ROW.findall(_PAGE.read_text(encoding="utf-8")))
    assert {name for name in entries() if not name.startswith("test.")} == known


def test_every_outcome_of_a_test_has_its_sentence() -> None:
    """As the API describes them."""
    described = re.findall(r"`([a-z_]+)`", str(KeyTest.model_fields["code"].description))
    assert {name.removeprefix("test.") for name in entries() if name.startswith("test.")} == set(described)
