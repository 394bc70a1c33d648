"""The documentation's list of files that one `POST /api/keys` passes is true, and the way only goes down."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
from tests.support.process import REPOSITORY, wait_until
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

_LISTED = re.compile(r"^\d+\. `(?P<file>[\w/]+\.py)`", re.MULTILINE)
_MARK = "<!-- the way of POST /api/keys -->"
_ROUTE = "api/routes/keys.py"
_VALUES = ("domain/", "wire/")
LONGEST_WAY = 25

Call = tuple[str, str]


@pytest.fixture(scope="module")
def calls(target: RealityTarget, tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """Return the calls between our files while a real service makes a key: (caller, called), in order.

    It is the second: the first one after a start writes config.json as a whole.
    """
    trace = tmp_path_factory.mktemp("trace") / "calls"
    service = Service(target)
    service.command = ("-m", "tests.support.traced_serve")
    service.env["TRACE_FILE"] = str(trace)
    service.env["PYTHONPATH"] = os.pathsep.join([service.env["PYTHONPATH"], str(REPOSITORY)])
    with service:
        service.wait_ready()
        for _ in range(2):
            trace.unlink(missing_ok=True)
            service.client.post("/api/keys", json={"name": "traced"}).raise_for_status()
            assert wait_until(lambda: trace.exists() and trace.read_text(encoding="utf-8").endswith("\n"))
    lines = trace.read_text(encoding="utf-8").splitlines()
    return [(caller, called) for caller, _, called in (line.partition("\t") for line in lines)]


def levels() -> dict[str, int]:
    """Return the height of each room, as import-linter keeps it."""
    tables = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    layers = tables["tool"]["importlinter"]["contracts"][0]["layers"]
    return {room.strip(" ()"): len(layers) - at for at, row in enumerate(layers) for room in row.split("|")}


def room_of(file: str) -> str:
    """Return the room that a file is in, or its own name where it is a room by itself."""
    return Path(file).parts[0].removesuffix(".py")


def test_the_way_is_as_it_is_written(calls: list[Call]) -> None:
    """From the route on, without pure values and what every request passes, the files are those of the page."""
    order = list(dict.fromkeys(called for _, called in calls))
    begin = order.index(_ROUTE)
    way = [file for file in order[begin:] if not file.startswith((*_VALUES, "server/"))]
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert _LISTED.findall(page.partition(_MARK)[2].partition("\n## ")[0]) == way
    assert len(way) <= LONGEST_WAY


def test_the_way_never_climbs_back(calls: list[Call]) -> None:
    """No file calls into a room above its own, but for the HTTP server, which hands the request to the application.

    A line for the log goes through the standard library to the handler that the server has put there.
    """
    height = levels()
    climbs = {
        (caller, called)
        for caller, called in calls
        if caller
        and height[room_of(called)] > height[room_of(caller)]
        and room_of(caller) != "server"
        and not called.startswith("server/log")
    }
    assert climbs == set()
