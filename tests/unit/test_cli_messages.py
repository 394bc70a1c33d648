"""The command line's messages name commands: what the server says of requests is translated."""

import re
from pathlib import Path

import pytest
from tests.unit.test_cli_documented import _options
from tests.unit.test_described import DOCUMENT

import vpnkeys
from vpnkeys.cli.output.operations import COMMANDS, in_commands

SOURCE = Path(vpnkeys.__file__).parent
_REQUEST = re.compile(r"(?:GET|POST|PATCH|DELETE) /[\w{}./-]+")
_ROOMS = ("domain", "service", "api", "xray", "store", "ops", "server")


def _requests_in_texts() -> list[str]:
    """Each request that a text of the server names; docstrings and comments are not shown to anybody."""
    lines = [
        line for room in _ROOMS for file in (SOURCE / room).rglob("*.py") for line in file.read_text().splitlines()
    ]
    shown = [line for line in lines if re.match(r"""\s*(?:\w.*)?f?["'](?!"")""", line) and '"""' not in line]
    return sorted({request.rstrip(".") for line in shown for request in _REQUEST.findall(line)})


def test_texts_of_the_server_name_requests() -> None:
    """Otherwise the next test would see nothing."""
    assert len(_requests_in_texts()) >= 5


@pytest.mark.parametrize("request_", _requests_in_texts())
def test_each_request_that_the_server_names_has_a_command(request_: str) -> None:
    """Which is there."""
    said = in_commands(f"There is no such key; {request_}, then test again.")
    assert _REQUEST.search(said) is None, said
    (command,) = re.findall(r"`vpnkeys ([^`]+)`", said)
    assert command in COMMANDS.values()


def test_each_request_has_a_command() -> None:
    """But those that only browsers send: a new one is seen here."""
    requests = {f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert {request for request in requests if "/ui/" not in request} == COMMANDS.keys()


def test_the_commands_exist() -> None:
    """With their options."""
    known = _options()
    for command in COMMANDS.values():
        words = command.split(" --")
        assert words[0] in known
        assert {f"--{option}" for option in words[1:]} <= known[words[0]]


def test_other_text_stays() -> None:
    """Also a path that is no request, and a request of another program."""
    for text in ("", "POST it", "/api/keys", "GET /else/where"):
        assert in_commands(text) == text
    assert in_commands("`GET /api/keys/{id}/config`.") == "`vpnkeys keys show`."
