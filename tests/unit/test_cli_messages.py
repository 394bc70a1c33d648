"""The command line's messages name commands: what the server says of requests is translated."""

import re
from pathlib import Path

import pytest
from tests.support.answering import answering
from tests.unit.test_cli_documented import _options
from tests.unit.test_described import DOCUMENT
from typer.testing import CliRunner

import vpnkeys
from vpnkeys.cli.commands import doctor
from vpnkeys.cli.main import build_app
from vpnkeys.cli.output.operations import COMMANDS, in_commands
from vpnkeys.doctor import Finding, Level

SOURCE = Path(vpnkeys.__file__).parent
_REQUEST = re.compile(r"(?:GET|POST|PATCH|DELETE) /[\w{}./-]+")
_SAID = "It is not counted. POST /api/system/sync-config, then test again."
_ROOMS = ("domain", "service", "api", "xray", "store", "ops", "server")


def _shown() -> list[str]:
    """Each line with a text of the server; docstrings and comments are not shown to anybody."""
    lines = [
        line for room in _ROOMS for file in (SOURCE / room).rglob("*.py") for line in file.read_text().splitlines()
    ]
    return [line for line in lines if re.match(r"""\s*(?:\w.*)?f?["'](?!"")""", line) and '"""' not in line]


def _requests_in_texts() -> list[str]:
    """Each request that a text of the server names."""
    return sorted({request.rstrip(".") for line in _shown() for request in _REQUEST.findall(line)})


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


def test_no_text_names_a_method_alone() -> None:
    """Such as "POST makes one": with the path, a command can stand in its place."""
    alone = re.compile(r"\b(?:GET|POST|PATCH|DELETE|PUT) (?=[a-z])")
    assert [text for text in _shown() if alone.search(text)] == []


def test_a_request_may_name_the_thing_itself() -> None:
    """As a text with a name filled in does."""
    assert in_commands("GET /api/nodes/eu says how it is.") == "`vpnkeys nodes show` says how it is."
    assert in_commands("GET /api/keys/17/online.") == "`vpnkeys keys online`."


@pytest.mark.parametrize(
    ("line", "path", "answer"),
    [
        ("keys test", "test", {"works": False, "code": "c", "egress": {"works": False, "detail": ""}}),
        ("keys test", "test", {"works": True, "code": "c", "egress": {"works": True, "detail": _SAID}}),
    ],
)
def test_answers_name_commands_too(line: str, path: str, answer: dict[str, object]) -> None:
    """What a test found says what to do next, as an error does."""
    key_id = "00000000-0000-4000-8000-000000000001"
    body = {"key_id": key_id, "detail": _SAID, **answer}
    with answering({"/api/keys": [], f"/api/keys/{key_id}/{path}": body}) as server:
        told = server.run(f"{line} {key_id}").stdout
    assert "`vpnkeys sync`, then test again." in told
    assert "POST" not in told


def test_other_text_stays() -> None:
    """Also a path that is no request, and a request of another program."""
    for text in ("", "POST it", "/api/keys", "GET /else/where"):
        assert in_commands(text) == text
    assert in_commands("`GET /api/keys/{id}/config`.") == "`vpnkeys keys show`."


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_doctor_names_commands_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: list[str]) -> None:
    """What its self-test found is a text of the server."""
    monkeypatch.setattr(doctor, "examine", lambda *_args, **_more: [Finding("self-test", Level.FAIL, _SAID, "")])
    told = CliRunner().invoke(build_app(["doctor"]), ["doctor", *form], env={"VPNKEYS_DATA_DIR": str(tmp_path)}).stdout
    assert "`vpnkeys sync`, then test again." in told
