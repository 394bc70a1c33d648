"""Repairs touch nobody who needs no repair, lose no byte, and change nothing when they cannot work."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support import procfs
from tests.support.agreement import Json, agreement
from tests.support.binaries import xray_binary
from tests.support.clients import SingBoxClient, XrayClient
from tests.support.disks import empty, fill_for_good, needs_mounts, small_disk
from tests.support.drift import DRIFTS, Drift
from tests.support.keys import Key, carries, delete_key, link_of, make_key
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.streams import ByteServer, Echo, PingPong, ended_within, transfer
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

RESTARTS = ("xray/sync-config", "fix-reality-keys")
WRITERS = ("sync-config", "verify-reality", *RESTARTS)


def _post(service: Service, path: str) -> httpx.Response:
    return service.client.post(f"/api/system/{path}")


def _drift(words: str) -> Drift:
    return next(drift for drift in DRIFTS if words in drift.name)


def _total_bytes(service: Service, key: Key) -> int:
    answer: Json = service.client.get(f"/api/keys/{key['id']}/traffic").raise_for_status().json()
    return int(answer["total_bytes"])


def test_sync_and_ports_reset_leave_unchanged_keys_alone(service: Service, echo: Echo, byte_server: ByteServer) -> None:
    """A connection of a key that needs no repair goes on, while a neighbour is repaired and another one moves."""
    steady, gone, moving = (make_key(service, name) for name in ("steady", "gone", "moving"))
    delete_key(service, gone)
    with (
        XrayClient(link_of(service, steady)) as client,
        echo.open(client.socks) as sock,
        PingPong(sock) as pings,
    ):
        _drift("removed from").make(service, moving)
        assert _post(service, "sync-config").status_code == 200
        (change,) = _post(service, "ports/reset").json()["changed"]
        for path in ("sync-config", "verify-reality", "ports/reset"):
            assert _post(service, path).status_code == 200
        time.sleep(0.3)
        assert not pings.broken
        assert pings.stall_s < 0.2
    assert (change["key_id"], change["old_port"], change["new_port"]) == (moving["id"], moving["port"], gone["port"])
    assert agreement(service) == []
    with XrayClient.many([link_of(service, key) for key in (steady, moving)]) as client:
        assert all(carries(proxy, byte_server) for proxy in client.proxies)
    delete_key(service, steady)
    delete_key(service, moving)


@pytest.mark.parametrize("path", RESTARTS)
def test_restarts_lose_no_byte_and_answer_when_clients_get_through(
    service: Service, byte_server: ByteServer, path: str
) -> None:
    """Xray is another process afterwards, every byte of before is counted, and the first client gets in at once."""
    key = make_key(service)
    with XrayClient(link_of(service, key)) as client, byte_server.open(client.socks) as open_sock:
        transfer(open_sock, 300_000, 700_000)
        # Still open, and not sampled since: what it moved last is what a careless restart loses.
        before = service.xray_pid()
        assert _post(service, path).status_code == 200
        assert service.xray_pid() != before
        began = time.monotonic()
        assert carries(client.socks, byte_server)
        assert time.monotonic() - began < 1.0 * slowness()
    total = _total_bytes(service, key)
    assert 1_002_000 <= total <= 1_002_000 * 1.001 + 2 * 2_000
    assert service.client.get(f"/api/keys/{key['id']}/traffic").json()["gaps"] == []
    assert agreement(service) == []
    delete_key(service, key)


def test_a_hanging_xray_is_not_synced_but_can_be_restarted(service: Service, byte_server: ByteServer) -> None:
    """While Xray is stopped, what needs it is 503 and changes nothing; the restart that mends it works, with a gap."""
    key = make_key(service)
    subprocess.run(["kill", "-STOP", str(service.xray_pid())], check=True)
    service.child.wait_for(lambda: _post(service, "sync-config").status_code == 503, "503 while Xray is stopped")
    for answer in (
        service.client.post("/api/keys", json={"name": "never"}),
        service.client.get(f"/api/keys/{key['id']}/traffic"),
        _post(service, "verify-reality"),
    ):
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
    assert _post(service, "xray/sync-config").status_code == 200
    assert [key["id"]] == [key["id"] for key in service.client.get("/api/keys").json()]
    with XrayClient(link_of(service, key)) as client:
        assert carries(client.socks, byte_server)
    assert agreement(service) == []
    delete_key(service, key)


def _assert_refused_unchanged(service: Service, xray_pid: int, paths: tuple[str, ...], word: str) -> None:
    """Each request is refused with a reason, and neither file nor Xray is another one."""
    config = service.data_dir / "config.json"
    before = config.read_bytes()
    for path in paths:
        answer = _post(service, path)
        assert answer.status_code == 503, answer.text
        assert word in answer.json()["detail"]
    assert config.read_bytes() == before
    assert procfs.is_alive(xray_pid)


@pytest.fixture(scope="module")
def on_a_small_disk(
    target: RealityTarget, byte_server: ByteServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service with a disk of its own."""
    with (
        small_disk(tmp_path_factory.mktemp("small") / "d") as disk,
        Service(target, data_dir=disk, egress_allow=[byte_server.egress_rule]) as service,
    ):
        service.wait_ready()
        yield service


@needs_mounts
@pytest.mark.parametrize("trouble", ["full disk", "unwritable directory"])
def test_a_disk_that_takes_nothing_changes_nothing(
    on_a_small_disk: Service, byte_server: ByteServer, trouble: str
) -> None:
    """When config.json cannot be written, every repair, and creation is 503 and says so; later all is well.

    Deleting ends the customer all the same: what is not written yet is written as soon as it can be.
    """
    service, disk = on_a_small_disk, on_a_small_disk.data_dir
    key, gone = make_key(service), make_key(service)
    _drift("wrong short_id").make(service, key)
    _make_unwritable(disk, trouble)
    _assert_refused_unchanged(service, service.xray_pid(), WRITERS, "config.json cannot be written")
    assert service.client.post("/api/keys", json={"name": "never"}).status_code == 503
    with SingBoxClient.many([link_of(service, key), link_of(service, gone)]) as client:
        stays, goes = client.proxies
        with byte_server.open(goes) as open_sock:
            transfer(open_sock, 1_000, 1_000)
            answer = service.client.delete(f"/api/keys/{gone['id']}")
            assert (answer.status_code, answer.json()["code"]) == (503, "not_written")
            assert ended_within(open_sock, 1.0)
        assert not carries(goes, byte_server, timeout=2.0)
        assert carries(stays, byte_server)
    assert [key["id"]] == [key["id"] for key in service.client.get("/api/keys").json()]
    _make_writable(disk, trouble)
    assert _post(service, "sync-config").status_code == 200
    service.child.wait_for(lambda: agreement(service) == [], "the same everywhere")
    service.child.wait_for(lambda: service.client.delete(f"/api/keys/{gone['id']}").status_code == 200, "deleted")
    assert service.client.delete(f"/api/keys/{gone['id']}").status_code == 404
    assert [key["id"]] == [key["id"] for key in service.client.get("/api/keys").json()]
    delete_key(service, key)


def _make_unwritable(disk: Path, trouble: str) -> None:
    if trouble == "unwritable directory":  # for root too, whom no mode stops
        subprocess.run(["chattr", "+i", str(disk)], check=True)
    else:
        fill_for_good(disk)


def _make_writable(disk: Path, trouble: str) -> None:
    if trouble == "unwritable directory":
        subprocess.run(["chattr", "-i", str(disk)], check=True)
    else:
        empty(disk)


def test_a_restart_without_a_binary_is_refused(tmp_path: Path, target: RealityTarget, byte_server: ByteServer) -> None:
    """When the Xray binary is gone, Xray is not ended: the answer says why, and customers go on."""
    binary = tmp_path / "xray"
    shutil.copy2(xray_binary(), binary)
    settings = {"VPNKEYS_XRAY_BIN": str(binary)}
    with Service(target, settings=settings, egress_allow=[byte_server.egress_rule]) as service:
        service.wait_ready()
        key = make_key(service)
        pid = service.xray_pid()
        binary.rename(tmp_path / "gone")
        _assert_refused_unchanged(service, pid, RESTARTS, "could not be run")
        with XrayClient(link_of(service, key)) as client:
            assert carries(client.socks, byte_server)
        (tmp_path / "gone").rename(binary)
        assert _post(service, "xray/sync-config").status_code == 200
