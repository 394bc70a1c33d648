"""The audit log: every change stands there, with who made it, what it was before and after, and how it ended."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from tests.support.keys import make_key
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

Record = dict[str, Any]


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service of this module's own."""
    with Service(target) as service:
        service.wait_ready()
        yield service


def log(service: Service, **params: str | int) -> list[Record]:
    """The newest records, newest first."""
    records: list[Record] = service.client.get("/api/audit", params=params).json()
    return records


def last(service: Service) -> Record:
    """The newest record."""
    return log(service, limit=1)[0]


def test_a_keys_life_is_written_down(service: Service) -> None:
    """Made, changed, reset, deleted: only what differs, without what would let somebody in."""
    key = make_key(service, "Ann")
    client = service.client
    client.patch(f"/api/keys/{key['id']}", json={"name": "Anna", "max_devices": 2})
    client.post(f"/api/keys/{key['id']}/traffic/reset")
    client.delete(f"/api/keys/{key['id']}")
    deleted, reset, changed, created = log(service, subject=key["id"])
    actions = [record["action"] for record in (created, changed, reset, deleted)]
    assert actions == ["key.created", "key.changed", "key.traffic_reset", "key.deleted"]
    assert (changed["before"], changed["after"]) == (
        {"name": "Ann", "max_devices": None},
        {"name": "Anna", "max_devices": 2},
    )
    assert (created["before"], created["after"]["port"], created["after"]["status"]) == ({}, key["port"], "active")
    assert (deleted["after"], deleted["before"]["name"]) == ({}, "Anna")
    told = str([created, changed, reset, deleted])
    assert key["uuid"] not in told
    assert key["short_id"] not in told
    assert {record["outcome"] for record in (created, changed, reset, deleted)} == {"done"}


def test_it_says_who_from_where(service: Service) -> None:
    """A token by its name and id, in the log too; the first key, this machine; an address, or the Unix socket."""
    made = service.client.post("/api/tokens", json={"name": "the bot", "scope": "keys"}).json()
    assert (last(service)["actor"], last(service)["origin"]) == ("the first API key", "127.0.0.1")
    with service.new_client(api_key=made["token"]) as bot:
        key = bot.post("/api/keys", json={"name": "by a bot"}).json()
    assert last(service)["actor"] == f"the bot ({made['id']})"
    service.child.wait_for(lambda: f" by the bot ({made['id']})" in service.log(), "the token's line in the log")
    assert f"token {made['id']} made with scope keys" in service.log()
    assert service.cli("keys", "rm", key["id"]).returncode == 0
    assert (last(service)["actor"], last(service)["origin"]) == ("this machine", "unix socket")
    service.client.delete(f"/api/tokens/{made['id']}")
    assert (last(service)["action"], last(service)["before"]) == ("token.revoked", {"name": "the bot", "scope": "keys"})


@pytest.mark.sqlite
def test_what_the_server_does_by_itself_is_told_as_such(service: Service) -> None:
    """An expiry that strikes is nobody's request."""
    key = make_key(service, "short")
    service.client.patch(f"/api/keys/{key['id']}", json={"expires_at": "2020-01-01T00:00:00"})
    service.client.patch(f"/api/keys/{key['id']}", json={"expires_at": "2100-01-01T00:00:00"})
    assert last(service)["after"]["status"] == "active"
    with closing(sqlite3.connect(service.data_dir / "vpnkeys.db")) as database, database:
        database.execute("UPDATE keys SET expires_at = '2021-01-01 00:00:00.000000' WHERE id = ?", [key["id"]])
    service.child.wait_for(lambda: last(service)["after"] == {"status": "expired"}, "a struck limit in the log")
    assert (last(service)["actor"], last(service)["origin"]) == ("vpnkeys", "server")
    service.client.delete(f"/api/keys/{key['id']}")


def test_what_was_taken_back_is_told_with_its_reason(service: Service) -> None:
    """While Xray hangs no key can be made; the log says that somebody tried."""
    pid = service.xray_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = service.client.post("/api/keys", json={"name": "in vain"}, timeout=60)
        assert answer.status_code == 503
        tried = last(service)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (tried["action"], tried["outcome"], tried["after"]["name"]) == ("key.created", "taken_back", "in vain")
    assert tried["detail"] == answer.json()["detail"]
    service.wait_ready()


def test_what_is_done_to_the_server_as_a_whole_stands_there_too(service: Service) -> None:
    """Repairs and restarts, with what they did."""
    service.client.post("/api/system/sync-config")
    assert last(service)["action"] == "system.config_synced"
    service.client.post("/api/system/xray/sync-config", timeout=60)
    assert (last(service)["action"], last(service)["outcome"]) == ("system.xray_restarted", "done")


def test_pages_follow_each_other(service: Service) -> None:
    """`before` the last id of one page is the next, without a gap or a double."""
    for _ in range(5):
        service.client.post("/api/system/sync-config")
    whole = [record["id"] for record in log(service, limit=6)]
    pages = log(service, limit=3)
    pages += log(service, limit=3, before=pages[-1]["id"])
    assert [record["id"] for record in pages] == whole == sorted(whole, reverse=True)


@pytest.mark.sqlite
def test_nobody_alters_the_log(service: Service) -> None:
    """The database itself refuses, whoever asks."""
    make_key(service, "logged")
    with closing(sqlite3.connect(service.data_dir / "vpnkeys.db")) as database:
        for statement in ("UPDATE audit SET actor = 'somebody'", "DELETE FROM audit"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                database.execute(statement)
