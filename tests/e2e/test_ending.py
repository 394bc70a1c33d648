"""SIGTERM in the middle: each change is finished or taken back, as its answer says; idle clients delay nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest
from tests.support.agreement import agreement
from tests.support.clients import XrayClient
from tests.support.keys import Key, carries, link_of, list_keys, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

from vpnkeys.bootstrap import build
from vpnkeys.domain.errors import NotWritten
from vpnkeys.domain.making import Draft
from vpnkeys.settings import load_settings
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.xray.process.binary import obtain

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite]

LONGER_THAN_A_CALL_S = 1.4  # and shorter than a change waits for the database


@pytest.fixture(scope="module")
def started(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """A service of the module's own."""
    with Service(target, egress_allow=egress) as service:
        yield service


@pytest.fixture
def service(started: Service) -> Service:
    """The service, which runs and has no key."""
    started.be_ready()
    if ids := [key["id"] for key in list_keys(started)]:
        started.client.post("/api/keys/bulk/delete", json={"ids": ids}).raise_for_status()
    return started


def ask_in_a_thread(service: Service, ask: Callable[[httpx.Client], httpx.Response]) -> Future[httpx.Response]:
    """A request on a connection of its own."""

    def work() -> httpx.Response:
        with service.new_client() as client:
            return ask(client)

    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(work)
    finally:
        pool.shutdown(wait=False)


@contextmanager
def locked(service: Service) -> Iterator[None]:
    """Another process that writes to the database, and takes its time."""
    database = sqlite3.connect(service.data_dir / "vpnkeys.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        database.execute("ROLLBACK")
        database.close()


def ask_to_end(service: Service) -> None:
    """SIGTERM, with all connections left open."""
    service.child.send_signal(signal.SIGTERM)


def test_a_change_in_flight_is_finished(service: Service, byte_server: ByteServer) -> None:
    """It takes longer than any call: 200 and true, or 503 and nothing was changed."""
    deleted, disabled, reset = (make_key(service, name) for name in ("deleted", "disabled", "reset"))
    said = len(service.log())
    before = {key["id"]: key for key in list_keys(service)}
    with locked(service):
        answers = {
            "create": ask_in_a_thread(service, lambda client: client.post("/api/keys", json={"name": "made"})),
        }
        time.sleep(0.2)  # it has the lock of changes; the others wait for it
        answers |= {
            "delete": ask_in_a_thread(service, lambda client: client.delete(f"/api/keys/{deleted['id']}")),
            "patch": ask_in_a_thread(
                service, lambda client: client.patch(f"/api/keys/{disabled['id']}", json={"is_active": False})
            ),
            "reset": ask_in_a_thread(service, lambda client: client.post(f"/api/keys/{reset['id']}/traffic/reset")),
        }
        time.sleep(0.2)
        ask_to_end(service)
        time.sleep(LONGER_THAN_A_CALL_S)
    found = {name: answer.result() for name, answer in answers.items()}
    assert service.child.wait(15.0 * slowness()) == 0
    codes = {name: answer.status_code for name, answer in found.items()}
    assert set(codes.values()) <= {200, 503}, codes
    assert all(answer.json()["code"] == "server_ending" for answer in found.values() if answer.status_code == 503)
    assert "ERROR" not in service.log()[said:]
    service.start()
    service.wait_ready()
    now = {key["id"]: key for key in list_keys(service)}
    assert (deleted["id"] in now) == (codes["delete"] == 503)
    assert now[disabled["id"]]["is_active"] == (codes["patch"] == 503)
    made = [key for key in now.values() if key["id"] not in before]
    assert [key["id"] for key in made] == ([found["create"].json()["id"]] if codes["create"] == 200 else [])
    assert agreement(service) == []
    with XrayClient.many([link_of(service, key) for key in now.values()]) as client:
        assert [carries(proxy, byte_server) for proxy in client.proxies] == [key["is_active"] for key in now.values()]


def test_a_start_that_xray_does_not_answer_is_taken_back(service: Service) -> None:
    """503, and after the next start there is nothing of it."""
    os.kill(service.xray_pid(), signal.SIGSTOP)
    answer = ask_in_a_thread(service, lambda client: client.post("/api/keys", json={"name": "never"}))
    assert wait_until(lambda: _intents(service) > 0)
    ask_to_end(service)
    assert answer.result().status_code == 503
    assert service.child.wait(20.0 * slowness()) == 0
    _starts_with_nothing(service)


def test_killed_while_it_ends(service: Service) -> None:
    """A second SIGTERM changes nothing, and what a kill leaves begun is taken back by the next start."""
    os.kill(service.xray_pid(), signal.SIGSTOP)
    answer = ask_in_a_thread(service, lambda client: client.post("/api/keys", json={"name": "never"}))
    assert wait_until(lambda: _intents(service) > 0)
    ask_to_end(service)
    ask_to_end(service)
    service.kill()
    assert isinstance(answer.exception(), httpx.TransportError)
    assert _intents(service) > 0
    _starts_with_nothing(service)


def _intents(service: Service) -> int:
    database = sqlite3.connect(f"file:{service.data_dir / 'vpnkeys.db'}?mode=ro", uri=True)
    try:
        return int(database.execute("SELECT count(*) FROM intents").fetchone()[0])
    finally:
        database.close()


def _starts_with_nothing(service: Service) -> None:
    service.start()
    service.wait_ready()
    assert list_keys(service) == []
    assert wait_until(lambda: _intents(service) == 0)
    assert agreement(service) == []
    keys: list[Key] = [make_key(service) for _ in range(2)]
    assert [key["port"] for key in keys] == [*service.ports][:2]


def test_idle_clients_delay_nothing(service: Service) -> None:
    """Nor does a stream of events; no line of an error is written."""
    said = len(service.log())
    with service.new_client() as idle, service.new_client() as follower:
        idle.get("/health")
        with follower.stream("GET", "/api/events") as events:
            next(events.iter_bytes())
            began = time.monotonic()
            ask_to_end(service)
            assert service.child.wait(15.0 * slowness()) == 0
            took = time.monotonic() - began
    assert "ERROR" not in service.log()[said:]
    assert took < 2.5 * slowness()


def test_what_a_locked_database_kept_back_is_stored_at_the_end(
    target: RealityTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is deleted in the running Xray alone; the lock is gone only when no worker is left to store that."""
    with ExitStack() as lock, closing(Service(target)) as service:
        settings, xray = load_settings(service.env), obtain(Path(service.env["VPNKEYS_XRAY_BIN"]))
        server = build(settings, xray)
        server.start()
        try:
            assert wait_until(lambda: bool(server.node.ready_names()))
            deleted, stays = (server.keys.create(Draft(name)) for name in ("deleted", "stays"))
            lock.enter_context(locked(service))
            with pytest.raises(NotWritten):
                server.keys.delete(deleted.id)
            stop_workers = server.workers.stop

            def stop_and_unlock() -> None:
                stop_workers()
                assert server.reconciler.stops.are_unwritten
                lock.close()

            monkeypatch.setattr(server.workers, "stop", stop_and_unlock)
        finally:
            server.stop()
        with closing(open_store(service)) as store:
            assert [key.id for key in store.keys()] == [stays.id]  # noqa: SIM118 - not a dict


def open_store(service: Service) -> SqlStore:
    """The database, as the next server finds it."""
    return SqlStore(open_engine(f"sqlite:///{service.data_dir / 'vpnkeys.db'}"))
