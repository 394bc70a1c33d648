"""How commands fail on this side: in one sentence, or in one document for programs, and without a secret in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.answering import Answering, answering

ID = "00000000-0000-4000-8000-000000000001"
_TIME = "2025-08-05T12:00:00"
KEY = {"id": ID, "name": "Anna", "uuid": ID, "created_at": _TIME, "is_active": True, "port": 10001}
_CONFIG = {"key": KEY, "client_config": "vless://x", "vless_url": "vless://x"}
_SUBSCRIPTION = {"key_id": ID, "url": "https://x/sub/y", "created_at": _TIME, "exists": False}
_TOKEN = {"id": "t1", "name": "bot", "prefix": "p", "scope": "read", "is_valid": True, "created_at": _TIME}
_HOOK = {"id": "w1", "url": "https://x", "events": [], "is_active": True, "created_at": _TIME, "secret": "s"}
_NODE = {"id": 2, "name": "eu", "group": "g", "address": "a", "state": "joining", "port_range": "1-2", "weight": 1}
_NODE |= {"keys": 0, "desired": 0, "lag_s": 0, "version": "", "xray_version": "", "names_ready": 0, "public_key": ""}
_JOIN = {"node": _NODE, "join_command": "vpnkeys agent join x", "join_token": "j", "expires_at": _TIME}
ANSWERS: dict[str, object] = {
    "/api/keys": KEY,
    "/api/keys/bulk": [KEY],
    f"/api/keys/{ID}": KEY,
    f"/api/keys/{ID}/config": _CONFIG,
    f"/api/keys/{ID}/rotate": _CONFIG,
    f"/api/keys/{ID}/qr.svg": "<svg/>",
    f"/api/keys/{ID}/subscription": _SUBSCRIPTION,
    "/api/subscriptions": {"id": "s1", "key_ids": [ID], "url": "https://x/sub/y", "created_at": _TIME},
    "/api/tokens": {**_TOKEN, "token": "vpnk_t1_x"},
    "/api/tokens/t1/rotate": {**_TOKEN, "token": "vpnk_t1_x"},
    "/api/webhooks": _HOOK,
    "/api/nodes": _JOIN,
    "/api/nodes/eu/replace": _JOIN,
    "/api/audit": [],
    "/metrics": "# much\n" * 10_000,
}


@pytest.fixture
def server() -> Iterator[Answering]:
    """A server that knows one key, and does whatever it is asked to."""
    with answering(ANSWERS) as server:
        yield server


def _process(server: Answering, line: str, stdout: int) -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in server.env.items() if value is not None}
    own = {name: value for name, value in os.environ.items() if not name.startswith("VPNKEYS_")}
    command = [sys.executable, "-m", "vpnkeys", *line.split()]
    return subprocess.run(
        command, env={**own, **given}, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )


# What was made, how it is got at.
_MADE = {
    "keys add Anna": f"The key is made; `vpnkeys keys link {ID}` prints its link.",
    "keys add Anna --json": f"The key is made; `vpnkeys keys link {ID}` prints its link.",
    "keys add Anna --count 1": "`vpnkeys keys list` lists them",
    f"keys rotate {ID} --uuid": f"`vpnkeys keys link {ID}` prints it.",
    f"keys sub {ID}": "this command makes another",
    f"subscriptions add {ID}": "`vpnkeys subscriptions rm s1`",
    "tokens add bot --scope read": "`vpnkeys tokens rotate t1`",
    "tokens add bot --scope read --quiet": "`vpnkeys tokens rotate t1`",
    "tokens rotate t1": "`vpnkeys tokens rotate t1`",
    "webhooks add https://x": "`vpnkeys webhooks rm w1`",
    "nodes add eu": "`vpnkeys nodes replace eu`",
    "nodes replace eu": "`vpnkeys nodes replace eu`",
}


@pytest.mark.parametrize("line", [*_MADE, "audit", "audit --json", "metrics", f"keys show {ID}", "version", "--help"])
def test_a_full_disk_under_the_output(server: Answering, line: str) -> None:
    """One sentence says that the command itself was carried out, and where what it made is found."""
    server.answers = {**ANSWERS, **({} if line.startswith("keys add") else {"/api/keys": []})}
    with Path("/dev/full").open("wb") as full:
        told = _process(server, line, full.fileno())
    assert told.returncode == 1
    said = json.loads(told.stderr)["error"]["detail"] if "--json" in line else told.stderr
    [sentence] = said.splitlines()
    assert "was carried out, but its output cannot be written: No space left on device." in sentence
    assert _MADE.get(line, "") in sentence


def test_a_reader_that_has_gone(server: Answering) -> None:
    """A list that is read to its first lines is no fault."""
    server.answers = {**ANSWERS, "/api/keys": []}
    reading, writing = os.pipe()
    os.close(reading)
    for line in ("audit", "audit --json", "metrics"):
        told = _process(server, line, writing)
        assert (told.returncode, told.stderr) == (1, "")
    os.close(writing)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f"backups get x -o {__file__}", 1),
        (f"keys qr {ID} --svg /nonexistent/x.svg", 1),
        ("keys add x --expires foo", 2),
        ("keys add x --devices many", 2),
        ("keys add x --window never", 2),
        ("keys list --status none", 2),
        ("keys lst", 2),
        ("keys", 2),
    ],
)
def test_what_is_wrong_on_this_side_is_json_too(server: Answering, line: str, code: int) -> None:
    """One document on standard error, in the fields of the API's errors; for people it is a sentence."""
    server.answers = {**ANSWERS, "/api/keys": []}
    told = server.run(line, "--json")
    assert (told.exit_code, told.stdout) == (code, "")
    error = json.loads(told.stderr)["error"]
    assert error.keys() == {"status", "code", "detail", "retry_after_s"}
    assert error["code"] == ("refused" if code == 1 else "wrong_usage")
    assert "{" not in server.run(line).stderr


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n", " "])
def test_the_end_of_a_line_in_the_environment(server: Answering, end: str) -> None:
    """A file of another system was read for it."""
    env = {name: f"{value}{end}" for name, value in server.env.items() if value is not None}
    told = server.run("audit --json", **env, VPNKEYS_FINGERPRINT=end, VPNKEYS_CA="")
    assert (told.exit_code, told.stdout, told.stderr) == (0, "[]\n", "")


@pytest.mark.parametrize("form", ["", "--json"])
@pytest.mark.parametrize("end", ["\rx", "\x00", "”", "\u200b"])
def test_an_api_key_that_no_header_can_have(server: Answering, end: str, form: str) -> None:
    """Code 2, nothing is sent, and what is said does not show it."""
    told = server.run("audit", *form.split(), "--api-key", f"vpnk_secret{end}")
    assert (told.exit_code, told.stdout, server.asked) == (2, "", [])
    assert "X-API-Key" in told.stderr
    assert "secret" not in told.stderr


def test_a_url_that_is_none(server: Answering) -> None:
    """It is said, with what one looks like."""
    told = server.run("audit", "--url", "https://host:port")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "give a URL such as" in told.stderr
