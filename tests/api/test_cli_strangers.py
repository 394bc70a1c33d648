"""Whatever a server answers and whatever names customers have, a terminal is told text and no orders."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.answering import Answering, answering
from tests.support.keys import delete_key, make_key
from tests.support.service import Service
from tests.unit.test_plain import HOSTILE, is_obeyed

X = HOSTILE.removesuffix("\ud800")  # which no JSON holds that the client takes
ID = "00000000-0000-4000-8000-000000000001"  # a whole UUID, which is asked for at once
_TIME = "2025-08-05T12:00:00"
_KEY = {
    "id": X,
    "name": X,
    "uuid": X,
    "created_at": _TIME,
    "is_active": True,
    "port": 1,
    "short_id": X,
    "sni": X,
    "status": X,
    "note": X,
    "traffic_limit_window": X,
    "traffic_limit_bytes": 5,
}
_DONE = {"message": X, "status": X, "timestamp": 1, "warnings": [X]}
_PLAN: dict[str, Any] = {
    "in_sync": False,
    "running": False,
    "file": {"rewrite": True, "problem": X},
    "timestamp": 1,
    "add": [{"tag": X, "key_id": X}],
}
_MOVE = {"key_id": X, "uuid": X, "name": X, "old_port": 1, "new_port": 2}
_TRAFFIC = {"timestamp": 1, "total_bytes": 1, "keys": [{"key_id": X, "total_bytes": 1, "devices": 1}]}
_TOKEN = {"id": X, "name": X, "prefix": X, "scope": X, "is_valid": True, "created_at": _TIME, "token": X}
_HOOK = {"id": X, "url": X, "events": [X], "is_active": True, "created_at": _TIME, "secret": X}
_DELIVERY = {"id": X, "event": X, "created_at": _TIME, "attempts": 1, "next_try_at": _TIME, "last_error": X}
_RECORD = {
    "id": 1,
    "at": _TIME,
    "actor": X,
    "origin": X,
    "action": X,
    "subject": X,
    "outcome": X,
    "detail": X,
    "before": {X: X},
    "after": {X: [X]},
}
_TRIED = {"event_id": X, "delivered": True, "last_error": X}
_TEST = {"key_id": X, "works": True, "code": X, "detail": X, "egress": {"works": True, "detail": X}}
_PLACE = {"node": X, "port": 10001, "link": X}
_MOVED = {"key_id": X, "uuid": X, "name": X, "old": _PLACE, "new": _PLACE}
_NOT_MOVED = {"key_id": X, "name": X, "code": X, "detail": X}
_DOOR = {"tag": X, "port": 1, "keys": 1, "imported_keys": 1, "state": X, "server_names": [X]}
_NODE = {
    "id": 1,
    "name": X,
    "group": X,
    "address": X,
    "state": X,
    "port_range": X,
    "weight": 1,
    "keys": 1,
    "seen_at": _TIME,
    "desired": 1,
    "lag_s": 1.5,
    "version": X,
    "xray_version": X,
    "names_ready": 1,
    "failed": {X: X},
    "places": 1,
    "public_key": X,
}
_SUBSCRIPTION = {"key_id": X, "url": X, "created_at": _TIME, "exists": True}

ANSWERS: dict[str, tuple[str, object]] = {
    "keys list": ("/api/keys", [_KEY]),
    f"keys show {ID}": (f"/api/keys/{ID}/config", {"key": _KEY, "client_config": X, "vless_url": X}),
    f"keys link {ID}": (
        f"/api/keys/{ID}/link",
        {"vless_link": X, "vless_url": X, "client_config": X, "key_id": X, "key_uuid": X},
    ),
    f"keys set {ID} --name y": (f"/api/keys/{ID}", _KEY),
    f"keys rotate {ID} --uuid": (f"/api/keys/{ID}/rotate", {"key": _KEY, "client_config": X, "vless_url": X}),
    f"keys extend {ID} --days 1": ("/api/keys/bulk/extend", [_KEY]),
    f"keys rm {ID}": (f"/api/keys/{ID}", {"message": X}),
    f"keys sub {ID}": (f"/api/keys/{ID}/subscription", _SUBSCRIPTION),
    f"keys test {ID}": (f"/api/keys/{ID}/test", _TEST),
    "nodes list": ("/api/nodes", [_NODE]),
    "nodes show x": ("/api/nodes/x", _NODE),
    "nodes add x": ("/api/nodes", {"node": _NODE, "join_command": X, "join_token": X, "expires_at": _TIME}),
    "nodes replace x": (
        "/api/nodes/x/replace",
        {"node": _NODE, "join_command": X, "join_token": X, "expires_at": _TIME},
    ),
    "nodes move x": ("/api/nodes/x/move", {"node": X, "moved": [_MOVED], "failed": [_NOT_MOVED], "has_stopped": False}),
    "nodes drain x": ("/api/nodes/x", _NODE),
    "nodes rm x": ("/api/nodes/x", {"message": X}),
    "import doors": ("/api/doors", [_DOOR]),
    "import close-door x --yes": ("/api/doors/x", {"message": X}),
    "tokens list": ("/api/tokens", [_TOKEN]),
    "tokens add x --scope read": ("/api/tokens", _TOKEN),
    "tokens add x --scope read -q": ("/api/tokens", _TOKEN),
    "tokens revoke x": ("/api/tokens/x", _TOKEN),
    "tokens me": ("/api/tokens/me", {"id": X, "name": X, "scope": X}),
    "audit": ("/api/audit", [_RECORD]),
    "backups list": ("/api/backups", [{"name": X, "size_bytes": 1, "created_at": _TIME}]),
    "webhooks list": ("/api/webhooks", [_HOOK]),
    "webhooks add x": ("/api/webhooks", _HOOK),
    "webhooks deliveries x": ("/api/webhooks/x/deliveries", [_DELIVERY, {**_DELIVERY, "delivered_at": _TIME}]),
    "webhooks test x": ("/api/webhooks/x/test", _TRIED),
    "metrics": ("/metrics", X),
    "system info": ("/api/", {"message": X, "version": X, "status": X, "service_version": X}),
    "system plan": ("/api/system/plan", _PLAN),
    "system ports-plan": ("/api/system/ports/plan", {"changed": [_MOVE], "timestamp": 1}),
    "system targets": (
        "/api/system/targets",
        {"targets": [{"server_name": X, "target": X, "usable": False, "problems": [X]}], "timestamp": 1},
    ),
    "status": ("/health", {"status": X, "services": {X: X}, "version": X, "connection_cut": X}),
    "top --once": ("/api/events", [("health", {"status": X}), ("keys", [_KEY]), *[("traffic", _TRAFFIC)] * 2]),
}
"""A path, and what is answered there."""


@pytest.fixture
def stranger() -> Iterator[Answering]:
    """A server that wants to order terminals about."""
    with answering({}, {"code": X, "detail": X}) as server:
        yield server


def orders(text: str) -> set[str]:
    """What a terminal would obey, but for ends of line."""
    return {hex(ord(char)) for char in text if is_obeyed(char) and char != "\n"}


@pytest.mark.parametrize("line", ANSWERS)
@pytest.mark.parametrize("form", ["table", "json"])
def test_answers_of_a_stranger(stranger: Answering, line: str, form: str) -> None:
    """Names, notes, addresses, messages: each is shown for what it is, and nothing is obeyed."""
    path, answer = ANSWERS[line]
    more = ["--json"] if form == "json" and "-q" not in line else []
    # A table of keys needs them and their traffic, which other commands ask for as well.
    stranger.answers = {"/api/keys": [_KEY], "/api/traffic": _TRAFFIC, path: answer}
    told = stranger.run(line, *more)
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    assert orders(told.stdout + told.stderr) == set()
    assert re.search(r"\\u001b|\\x1b", told.stdout) or (line, form) == ("metrics", "json")


@pytest.mark.parametrize("line", ["keys list", "status", "audit", "sync", "system plan", "top --once", "backups get x"])
@pytest.mark.parametrize("form", ["table", "json"])
def test_errors_of_a_stranger(stranger: Answering, line: str, form: str) -> None:
    """The same for what a server refuses, on standard error."""
    told = stranger.run(line, *(["--json"] if form == "json" else []))
    assert orders(told.stdout + told.stderr) == set()
    assert told.exit_code in {0, 1} if line == "status" else told.exit_code == 1
    if line != "status":
        assert re.search(r"\\u001b|\\x1b", told.stderr)


@pytest.mark.parametrize("line", [line for line, (_, answer) in ANSWERS.items() if _TIME in json.dumps(answer)])
def test_times_are_of_the_readers_zone(stranger: Answering, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Which is named, wherever a time is shown; it is nine hours later there."""
    path, answer = ANSWERS[line]
    stranger.answers = {"/api/keys": [_KEY], "/api/traffic": _TRAFFIC, path: answer}
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        told = stranger.run(line)
    time.tzset()
    assert told.exit_code == 0
    times = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?(?: \w+)?", told.stdout)
    assert all(re.fullmatch(r"2025-08-05 21:00(:00)? JST", one) for one in times), times
    assert times or "12:00" not in told.stdout


@pytest.mark.e2e
def test_a_name_that_turns_the_line_around(service: Service) -> None:
    """Customers' names may hold such characters; the real service takes them, and lists show them harmless."""
    name = "pay \u202e001 \u2066x\u2028y"
    key = make_key(service, name)
    for line in (["keys", "list"], ["keys", "show", key["id"]], ["system", "ports"], ["audit"], ["top", "--once"]):
        told = service.cli(*line)
        assert (told.returncode, orders(told.stdout)) == (0, set())
        assert r"pay \u202e001 \u2066x\u2028y" in told.stdout
        assert orders(service.cli(*line, "--json").stdout) == set()
    delete_key(service, key)
