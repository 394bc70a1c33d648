"""The documentation says in two languages what the code does: links lead somewhere, lists are whole, examples work."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from tests.support.manual import (
    EN,
    PAGES,
    READMES,
    RU,
    Block,
    blocks_of,
    commands_in,
    headings_of,
    links_of,
    runnable,
    sections_of,
    without_comments,
)
from tests.support.process import REPOSITORY

import vpnkeys
from vpnkeys.api.pages.sub_apps import SYSTEMS
from vpnkeys.cli.main import _COMMANDS, build_app
from vpnkeys.domain.limits import Status
from vpnkeys.domain.trial import Outcome
from vpnkeys.interfaces import Host, Node
from vpnkeys.service.health.codes import TROUBLES, Code
from vpnkeys.service.selftest import EGRESS_FAILED, NOT_COUNTED
from vpnkeys.settings import DEFAULT_RATE_LIMITS, PREFIX, Settings, load_settings
from vpnkeys.xray.process.tried import FIRST_UNFIT, OLDEST_FIT, TRIED

LANGUAGES = (EN, RU)
SOURCE = Path(vpnkeys.__file__).parent
ALL = [*READMES, *(REPOSITORY / "docs").glob("*.md"), *EN.glob("*.md"), *RU.glob("*.md")]

# Words of families, which nothing is ever answered with.
_FAMILIES = {"error", "rejected", "unavailable"}
_ROW = re.compile(r"^\| `(?P<name>\w+)` ", re.MULTILINE)
_SETTING = re.compile(rf"^\| `{PREFIX}(\w+)` \|([^|]+)\|", re.MULTILINE)
# What a problem is made with, and what the client says when there was no answer.
_CODE_IN_TEXT = re.compile(r'(?:problem\(\s*[\w.]+|\(None), ?\s*"(\w+)"')
# What comes first in a line, behind a pipe or in $(…), after variables of its own.
_PROGRAM = re.compile(r"(?:^|\$\(|\| |&& )(?:[A-Z_]+=)?(?!\$)([a-z][\w-]*)(?=[\s)])", re.MULTILINE)
_ON_EVERY_DEBIAN = {"base64", "export", "head"}
_APP = typer.main.get_command(build_app(_COMMANDS))


def codes_in_source() -> Iterator[str]:
    """Every `code` of a class, every code that a problem is made with, and those that are chosen from a table."""
    for file in SOURCE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        yield from _CODE_IN_TEXT.findall(text)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                yield from _codes_of(node)
    yield from ("invalid_request", "method_not_allowed", "internal_error")


def _codes_of(node: ast.ClassDef) -> Iterator[str]:
    for statement in node.body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        value = getattr(statement, "value", None)
        if isinstance(target, ast.Name) and target.id == "code" and isinstance(value, ast.Constant):
            yield str(value.value)


@pytest.mark.parametrize("page", ALL, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of this repository, and to a heading in it, has what it leads to."""
    lost = []
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in headings_of(target).values()):
            lost.append(link)
    assert lost == []


def test_every_page_is_there_in_both_languages() -> None:
    """English and Russian have the same pages."""
    assert {page.name for page in EN.glob("*.md")} == {page.name for page in RU.glob("*.md")} == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_both_languages_say_as_much(name: str) -> None:
    """A page and its translation have the same headings, rows of tables and code."""
    english, russian = EN / name, RU / name
    assert _shape(english) == _shape(russian)
    assert list(map(without_comments, blocks_of(english))) == list(map(without_comments, blocks_of(russian)))


def test_both_readmes_say_as_much() -> None:
    """So do the two READMEs."""
    english, russian = READMES
    assert _shape(english) == _shape(russian)
    assert list(map(without_comments, blocks_of(english))) == list(map(without_comments, blocks_of(russian)))


def _shape(page: Path) -> tuple[list[int], int]:
    text = page.read_text(encoding="utf-8")
    levels = [len(heading) for heading in re.findall(r"^(#+) ", re.sub(r"(?ms)^```.*?^```", "", text), re.MULTILINE)]
    return levels, len(re.findall(r"^\|", text, re.MULTILINE))


@pytest.mark.parametrize("folder", LANGUAGES, ids=["en", "ru"])
def test_every_error_code_is_explained(folder: Path) -> None:
    """The page of troubles has a row for each code that the code has, and for no other; no row twice."""
    _, _, codes, problems, trials = sections_of(folder / "troubleshooting.md")
    assert sorted(_ROW.findall(codes)) == sorted(set(codes_in_source()) - _FAMILIES)
    assert sorted(_ROW.findall(problems)) == sorted(TROUBLES) == sorted(Code)
    stopped = {f"key_{status}" for status in Status if status is not Status.ACTIVE}
    assert sorted(_ROW.findall(trials)) == sorted({*Outcome, *stopped, EGRESS_FAILED, NOT_COUNTED})


@pytest.mark.parametrize("folder", LANGUAGES, ids=["en", "ru"])
def test_every_setting_is_explained(folder: Path) -> None:
    """The page of operations has a row for each setting, and for no other, with its default; no row twice."""
    rows = dict(_SETTING.findall((folder / "operations.md").read_text(encoding="utf-8")))
    assert sorted(rows) == sorted(name.upper() for name in Settings.model_fields)
    shown = {
        "LISTEN": "[::]:8000",
        "PORT_RANGE": "10001-10100",
        "RATE_LIMITS": ",".join(f"{name}={limit}" for name, limit in DEFAULT_RATE_LIMITS.items()),
        "TRAFFIC_INTERVAL_S": "10",
        "LOG_FORMAT": "human",
        "LOG_LEVEL": "info",
    }
    assert {name: rows[name].strip(" `") for name in shown} == shown
    defaults = load_settings({})
    assert load_settings({f"{PREFIX}{name}": value for name, value in shown.items()}) == defaults


@pytest.mark.parametrize("folder", LANGUAGES, ids=["en", "ru"])
def test_the_versions_of_xray_that_were_tried_are_those_of_the_code(folder: Path) -> None:
    """The page of the installation has a row for each, and the bounds of other versions."""
    text = (folder / "install.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+\.\d+\.\d+) \|", text, re.MULTILINE) == [one.version for one in TRIED]
    (bounds,) = (line for line in text.splitlines() if line.startswith("`VPNKEYS_XRAY_BIN` "))
    assert re.findall(r"\d+\.\d+\.\d+", bounds)[:2] == [OLDEST_FIT, FIRST_UNFIT]


@pytest.mark.parametrize("page", [*READMES, *EN.glob("*.md"), *RU.glob("*.md")], ids=lambda page: str(page.name))
def test_every_command_is_one(page: Path) -> None:
    """Each `vpnkeys …` that is shown exists, with the options that are shown."""
    unknown = [line for line in commands_in(page) if not _is_command(line)]
    assert unknown == []


def _is_command(line: str) -> bool:
    """Whether the words lead to a command, and it has the options."""
    words = shlex.split(line.partition(" | ")[0].partition("  #")[0].rstrip(")"))[1:]
    command: Any = _APP
    while hasattr(command, "commands"):
        if not words and command.invoke_without_command:
            break
        if not words or words[0] not in command.commands:
            return False
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return all(word in known for word in words if word.startswith("-"))


@pytest.mark.parametrize("folder", LANGUAGES, ids=["en", "ru"])
@pytest.mark.parametrize("name", ["first-key.md", "api.md", "operations.md"])
def test_no_program_is_needed_that_the_page_does_not_install(folder: Path, name: str) -> None:
    """A bare Debian has what is typed, or the page says how to get it; `api` is a function of the page's own."""
    script = without_comments(Block("sh", "\n".join(runnable(folder / name, "sh")))).code
    installed = re.findall(r"apt-get install ([\w -]+)", (folder / name).read_text(encoding="utf-8"))
    known = {
        "vpnkeys",
        *re.findall(r"^(\w+)\(\)", script, re.MULTILINE),
        *_ON_EVERY_DEBIAN,
        *" ".join(installed).split(),
    }
    used = set(_PROGRAM.findall(script))
    assert "vpnkeys" in used or "curl" in used
    assert used - known == set()


@pytest.mark.parametrize("folder", LANGUAGES, ids=["en", "ru"])
def test_the_apps_are_those_of_the_customers_page(folder: Path) -> None:
    """For each system the same, in the same order."""
    rows = dict(re.findall(r"^\| (\w+) \| (.+) \|$", (folder / "first-key.md").read_text(), re.MULTILINE))
    assert {system: rows[system].split(", ") for system in SYSTEMS} == {
        system: [app.name for app in apps] for system, apps in SYSTEMS.items()
    }


def test_the_receiver_verifies_as_the_page_does() -> None:
    """The example of a receiver has the very function that the page on webhooks shows."""
    (shown,) = (block.code for block in blocks_of(EN / "webhooks.md") if block.kind == "python")
    receiver = (REPOSITORY / "docs" / "examples" / "webhook_receiver.py").read_text(encoding="utf-8")
    assert shown[shown.index("def ") :] in receiver


def test_adr_3_lists_what_a_node_must_be_able_to_do() -> None:
    """Every verb of the promise, and none that is gone."""
    choice = (REPOSITORY / "docs" / "adr" / "0003-node-verbs.md").read_text().partition("**Why.**")[0]
    verbs = {name for promise in (Node, Host) for name in vars(promise) if not name.startswith("_")}
    assert set(re.findall(r"`([a-z_]+)`", choice)) == verbs
