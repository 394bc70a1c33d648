"""The dashboard has a Russian sentence for every error that the API can answer, and for every outcome of a test."""

import ast
import inspect
import re
from importlib.resources import files
from pathlib import Path
from types import ModuleType

from vpnkeys.wire.keys import KeyTest
from vpnkeys.xray.probe import flight, names, targets

_ENTRY = re.compile(r'^  "?([a-z_.]+)"?: "[^"]*[А-Яа-я][^"]*",$')
_PAGE = Path(__file__).parents[2] / "docs" / "ru" / "troubleshooting.md"
_ROW = re.compile(r"^\| `([a-z_]+)` \| \d{3} \|", re.MULTILINE)


_CHECK = re.compile(r'^  "([^"]*)":\s*"([^"]*[А-Яа-я][^"]*)",$', re.MULTILINE)


def _text_of(part: ast.expr) -> str:
    """A text as it is written, with {} for each value in it."""
    if isinstance(part, ast.JoinedStr):
        return "".join(_text_of(one) for one in part.values)
    return part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "{}"


def _said_of_targets() -> set[str]:
    """All that the checks of targets say, as it is written in them."""
    said = set()
    for module in (targets, names):
        texts = [_text_of(node) for node in ast.walk(_parsed(module)) if isinstance(node, ast.JoinedStr)]
        said |= {text for text in texts if text.startswith("{}") and " " in text}
    said.remove("{} {}; choose another server name")  # of which these are the second half
    for node in ast.walk(_parsed(flight)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "FlightUnfit":
            said.add(f"{{}} {_text_of(node.args[0])}; choose another server name")
    return said


def _parsed(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def test_every_check_of_a_target_has_its_sentence() -> None:
    """With as many values, and no other sentence is there."""
    text = files("vpnkeys").joinpath("web", "ui", "i18n", "ru-targets.js").read_text(encoding="utf-8")
    table = dict(_CHECK.findall(text))
    assert len(table) == text.count('",\n')
    assert table.keys() == _said_of_targets()
    assert [english for english, russian in table.items() if english.count("{}") != russian.count("{}")] == []


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
