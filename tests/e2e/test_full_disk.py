"""A disk that takes nothing keeps nobody in and nobody out: limits strike, Xray starts, and later all agree again."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.agreement import agreement
from tests.support.clients import XrayClient
from tests.support.disks import empty, fill, fill_for_good, needs_mounts, read_only, remount, small_disk
from tests.support.keys import Key, carries, link_of, list_keys, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.streams import ByteServer, Echo, PingPong, transfer
from tests.support.supervisor import SETTINGS, XraySupervisor
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite, needs_mounts]

STRIKES_WITHIN_S, TOLD_WITHIN_S, AGREES_WITHIN_S = 6.0, 15.0, 10.0
QUOTA_BYTES = 300_000


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, target: RealityTarget, egress: tuple[str, ...]
) -> Iterator[Service]:
    """A service on a small disk of its own; each test leaves the disk as it found it."""
    with (
        small_disk(tmp_path_factory.mktemp("small") / "d", 24) as disk,
        Service(target, egress_allow=egress, data_dir=disk) as service,
    ):
        service.wait_ready()
        yield service


def _fill(disk: Path) -> None:
    """Take all the space, also what the database's log has for writes to come."""
    with closing(sqlite3.connect(disk / "vpnkeys.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    fill_for_good(disk)


@contextmanager
def _full_disk(service: Service) -> Iterator[None]:
    _fill(service.data_dir)
    try:
        yield
    finally:
        empty(service.data_dir)


@contextmanager
def _held_lock(service: Service) -> Iterator[None]:
    with closing(sqlite3.connect(service.data_dir / "vpnkeys.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            database.execute("ROLLBACK")


def _codes(service: Service) -> set[str]:
    return {problem["code"] for problem in service.client.get("/health").json()["problems"]}


def _limited(service: Service, **fields: Any) -> Key:  # noqa: ANN401 - JSON
    key: Key = service.client.post("/api/keys", json={"name": "limited", **fields}).raise_for_status().json()
    return key


def _soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%f")


def _status(service: Service, key: Key) -> str:
    found: str = service.client.get(f"/api/keys/{key['id']}").raise_for_status().json()["status"]
    return found


def _used_bytes(service: Service, key: Key) -> int:
    answer = service.client.get(f"/api/keys/{key['id']}/traffic").raise_for_status()
    return int(answer.json()["total_bytes"])


def _agrees(service: Service) -> None:
    """Database, config.json and the running Xray come to the same by themselves."""
    began = time.monotonic()
    assert wait_until(lambda: agreement(service) == []), agreement(service)
    assert time.monotonic() - began < AGREES_WITHIN_S * slowness()


@pytest.mark.parametrize(("fault", "code"), [(_full_disk, "disk_full"), (_held_lock, "database_unwritable")])
def test_limits_strike(
    service: Service,
    byte_server: ByteServer,
    echo: Echo,
    fault: Callable[[Service], AbstractContextManager[None]],
    code: str,
) -> None:
    """Date, quota and devices, each in time; a neighbour stays connected; no byte is lost or counted twice."""
    dated, bounded = _limited(service, expires_at=_soon(3600)), _limited(service, traffic_limit_bytes=QUOTA_BYTES)
    single, neighbour = _limited(service, max_devices=1), make_key(service)
    keys = (dated, bounded, single, neighbour)
    with ExitStack() as stack:
        clients = [stack.enter_context(XrayClient(link_of(service, key), source="127.0.0.2")) for key in keys]
        other = stack.enter_context(XrayClient(link_of(service, single), source="127.0.0.3"))
        pings = [stack.enter_context(PingPong(echo.open(client.socks))) for client in clients]
        assert wait_until(lambda: all(len(ping.round_trips_s) > 3 for ping in pings))
        soon = {"expires_at": _soon(2.0)}
        assert service.client.patch(f"/api/keys/{dated['id']}", json=soon).status_code == httpx.codes.OK
        with fault(service):
            began = time.monotonic()
            with byte_server.open(clients[1].socks) as sock:
                transfer(sock, QUOTA_BYTES // 2, QUOTA_BYTES // 2)
            later = stack.enter_context(PingPong(echo.open(other.socks)))
            for ping in pings[:3]:
                assert ping.wait_broken(max(0.1, began + 2.0 + STRIKES_WITHIN_S * slowness() - time.monotonic()))
            assert not carries(clients[0].socks, byte_server, timeout=2.0)
            assert not carries(clients[1].socks, byte_server, timeout=2.0)
            assert [_status(service, key) for key in keys] == ["expired", "limited", "active", "active"]
            assert wait_until(lambda: code in _codes(service))
            assert time.monotonic() - began < TOLD_WITHIN_S * slowness()
            used = _used_bytes(service, bounded)
            assert QUOTA_BYTES <= used < 2 * QUOTA_BYTES
            assert _used_bytes(service, bounded) == used
        _agrees(service)
        assert [_status(service, key) for key in keys] == ["expired", "limited", "active", "active"]
        assert _used_bytes(service, bounded) == used
        assert [ping.broken for ping in (later, pings[3])] == [None, None]
    assert "Traceback" not in service.log()


def test_the_reserve_stores_stops_and_is_put_back(service: Service) -> None:
    """The disk is full, and a deletion is still stored and answered as done; /health says what is the matter."""
    key, disk = make_key(service), service.data_dir
    assert wait_until((disk / "reserve").exists)
    assert (disk / "reserve").stat().st_blocks * 512 >= 2**22
    fill(disk)
    assert service.client.delete(f"/api/keys/{key['id']}").status_code == httpx.codes.OK
    assert agreement(service) == []
    assert wait_until(lambda: "disk_full" in _codes(service))
    empty(disk)
    assert wait_until((disk / "reserve").exists)
    assert wait_until(lambda: not _codes(service) & {"disk_full", "database_unwritable"})


def _expires_soon(service: Service, key: Key) -> float:
    """Give a key a date that comes in a moment, but not before it is stored; return when, on the monotonic clock."""
    seconds = 1.5 * slowness()
    soon = time.monotonic() + seconds
    service.client.patch(f"/api/keys/{key['id']}", json={"expires_at": _soon(seconds)}).raise_for_status()
    return soon


def _trouble(disk: Path, trouble: str) -> None:
    _fill(disk) if trouble == "full" else remount(disk, "ro")


def _cure(disk: Path, trouble: str) -> None:
    empty(disk) if trouble == "full" else remount(disk, "rw")


def _kill_and_start(service: Service) -> None:
    service.kill()
    assert wait_until(lambda: not service.leftover_pids())
    service.start()


def test_no_end_of_the_service_undoes_a_stop(service: Service, byte_server: ByteServer) -> None:
    """Switched off and used up on a full disk, then the service is killed, twice: before there is room, and after."""
    switched, bounded, kept = make_key(service), _limited(service, traffic_limit_bytes=QUOTA_BYTES), make_key(service)
    keys = (switched, bounded, kept)
    with XrayClient.many([link_of(service, key) for key in keys]) as client:
        assert all(carries(proxy, byte_server) for proxy in client.proxies)
        with _full_disk(service):
            answer = service.client.patch(f"/api/keys/{switched['id']}", json={"is_active": False})
            assert (answer.status_code, answer.json()["code"]) == (503, "not_written"), answer.text
            assert "also when this server or the host is restarted" in answer.json()["detail"]
            with byte_server.open(client.proxies[1]) as sock:
                transfer(sock, QUOTA_BYTES // 2, QUOTA_BYTES // 2)
            assert wait_until(lambda: _status(service, bounded) == "limited")
            _kill_and_start(service)
            assert wait_until(lambda: carries(client.proxies[2], byte_server, timeout=1.0))
            assert [_status(service, key) for key in keys] == ["disabled", "limited", "active"]
            assert not any(carries(proxy, byte_server, timeout=1.0) for proxy in client.proxies[:2])
            service.kill()
        assert wait_until(lambda: not service.leftover_pids())
        service.start()
        assert wait_until(lambda: carries(client.proxies[2], byte_server, timeout=1.0))
        _agrees(service)
        assert [_status(service, key) for key in keys] == ["disabled", "limited", "active"]
        assert not any(carries(proxy, byte_server, timeout=1.0) for proxy in client.proxies[:2])
        service.client.patch(f"/api/keys/{switched['id']}", json={"is_active": True}).raise_for_status()
        _kill_and_start(service)  # what was stored is in the journal no more
        assert wait_until(lambda: carries(client.proxies[0], byte_server, timeout=1.0))


@pytest.mark.parametrize(
    ("trouble", "end"),
    [("full", "killed"), ("read-only", "stopped"), pytest.param("read-only", "killed", marks=pytest.mark.soak)],
)
def test_a_start(service: Service, byte_server: ByteServer, trouble: str, end: str) -> None:
    """The last good file serves, without the key whose date has come meanwhile; what can be read is answered."""
    dated, kept, gone = _limited(service, expires_at=_soon(3600)), make_key(service), make_key(service)
    soon = _expires_soon(service, dated)
    with XrayClient.many([link_of(service, key) for key in (dated, kept, gone)]) as client:
        service.kill() if end == "killed" else service.stop()
        assert wait_until(lambda: not service.leftover_pids())
        _trouble(service.data_dir, trouble)
        time.sleep(max(0.0, soon - time.monotonic()))
        service.start()
        assert wait_until(lambda: carries(client.proxies[1], byte_server, timeout=1.0))
        assert not carries(client.proxies[0], byte_server, timeout=1.0)
        assert [_status(service, key) for key in (dated, kept)] == ["expired", "active"]
        answer = service.client.delete(f"/api/keys/{gone['id']}")
        assert (answer.status_code, answer.json()["code"]) == (503, "not_written"), answer.text
        assert not carries(client.proxies[2], byte_server, timeout=1.0)
        expected = "disk_full" if trouble == "full" else "disk_read_only"
        assert wait_until(lambda: expected in _codes(service))
        killed = service.xray_pid()
        os.kill(killed, signal.SIGKILL)
        service.child.wait_for(lambda: service.find_xray_pid() not in (None, killed), "another Xray")
        assert wait_until(lambda: carries(client.proxies[1], byte_server, timeout=1.0))
        assert not any(carries(client.proxies[number], byte_server, timeout=1.0) for number in (0, 2))
        _kill_and_start(service)  # on the same disk: what was acknowledged and not stored holds
        assert wait_until(lambda: carries(client.proxies[1], byte_server, timeout=1.0))
        assert not any(carries(client.proxies[number], byte_server, timeout=1.0) for number in (0, 2))
        _cure(service.data_dir, trouble)
        _agrees(service)
        assert [carries(proxy, byte_server, timeout=1.0) for proxy in client.proxies] == [False, True, False]
        assert [key["id"] in {one["id"] for one in list_keys(service)} for key in (kept, gone)] == [True, False]
    assert "Traceback" not in service.log()


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_boot_with_xray_as_a_unit(
    tmp_path: Path, target: RealityTarget, egress: tuple[str, ...], byte_server: ByteServer, trouble: str
) -> None:
    """Xray and the server start on a disk that takes nothing; who may be in is in, and who may not is put out."""
    with small_disk(tmp_path / "d", 24) as disk:
        service = Service(target, egress_allow=egress, data_dir=disk, settings=SETTINGS)
        try:
            with XraySupervisor(service):
                service.start()
                service.wait_ready()
                dated, kept = _limited(service, expires_at=_soon(3600)), make_key(service)
                links = [link_of(service, key) for key in (dated, kept)]
                soon = _expires_soon(service, dated)
                service.stop()
            assert wait_until(lambda: not service.leftover_pids())
            _trouble(disk, trouble)
            time.sleep(max(0.0, soon - time.monotonic()))
            with XrayClient.many(links) as client, XraySupervisor(service) as supervisor:
                assert wait_until(lambda: carries(client.proxies[1], byte_server, timeout=1.0)), supervisor.log()
                service.start()
                assert wait_until(lambda: not carries(client.proxies[0], byte_server, timeout=1.0))
                assert carries(client.proxies[1], byte_server)
                assert _status(service, dated) == "expired"
                _cure(disk, trouble)
                _agrees(service)
                assert supervisor.starts == 1
                assert "Traceback" not in service.log() + supervisor.log()
        finally:
            service.close()


def test_a_unit_that_starts_alone_leaves_out_who_was_stopped(
    tmp_path: Path, target: RealityTarget, egress: tuple[str, ...], byte_server: ByteServer
) -> None:
    """Deleted and switched off on a full disk, which keeps both in config.json; all is killed, and Xray is first."""
    with small_disk(tmp_path / "d", 24) as disk:
        service = Service(target, egress_allow=egress, data_dir=disk, settings=SETTINGS)
        try:
            with XraySupervisor(service):
                service.start()
                service.wait_ready()
                deleted, switched, kept = keys = [make_key(service) for _ in range(3)]
                links = [link_of(service, key) for key in keys]
                _fill(disk)
                for answer in (
                    service.client.delete(f"/api/keys/{deleted['id']}"),
                    service.client.patch(f"/api/keys/{switched['id']}", json={"is_active": False}),
                ):
                    assert (answer.status_code, answer.json()["code"]) == (503, "not_written"), answer.text
                service.kill()
            assert wait_until(lambda: not service.leftover_pids())
            config = (disk / "config.json").read_text()
            assert all(f'"key-{key["id"]}"' in config for key in keys)
            with XrayClient.many(links) as client, XraySupervisor(service) as supervisor:
                let_in = [False, False, True]
                assert wait_until(lambda: carries(client.proxies[2], byte_server, timeout=1.0)), supervisor.log()
                assert [carries(proxy, byte_server, timeout=1.0) for proxy in client.proxies] == let_in
                service.start()
                empty(disk)
                _agrees(service)
                assert [key["id"] for key in list_keys(service)] == [switched["id"], kept["id"]]
                assert [carries(proxy, byte_server, timeout=1.0) for proxy in client.proxies] == let_in
                assert supervisor.starts == 1
                assert "Traceback" not in service.log() + supervisor.log()
        finally:
            service.close()


def test_an_xray_that_dies_on_a_read_only_disk_comes_back(service: Service, byte_server: ByteServer) -> None:
    """While nothing can be written still, and once it can be again: nobody waits for longer than a new Xray takes."""
    key = make_key(service)
    with XrayClient(link_of(service, key)) as client:
        with read_only(service.data_dir):
            for _ in range(2):
                killed = service.xray_pid()
                os.kill(killed, signal.SIGKILL)
                service.child.wait_for(lambda: service.find_xray_pid() not in (None, killed), "another Xray")  # noqa: B023 - called now
                assert wait_until(lambda: carries(client.socks, byte_server, timeout=0.5))
            assert wait_until(lambda: "disk_read_only" in _codes(service))
            killed = service.xray_pid()
            os.kill(killed, signal.SIGKILL)
        began = time.monotonic()
        assert wait_until(lambda: carries(client.socks, byte_server, timeout=0.5))
        assert time.monotonic() - began < 2.0 * slowness()
        assert service.xray_pid() != killed
    _agrees(service)
