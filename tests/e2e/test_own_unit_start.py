"""Xray as a unit of its own: when it starts, with what, under whose eyes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import procfs
from tests.support.agreement import agreement
from tests.support.clients import XrayClient
from tests.support.keys import carries, link_of, make_key
from tests.support.process import wait_until
from tests.support.room import can_make_rooms
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.supervisor import SETTINGS, Units, XraySupervisor, running_units
from tests.support.target import RealityTarget

from vpnkeys.xray.host.guard import table_of

pytestmark = pytest.mark.e2e

needs_nft = pytest.mark.skipif(not can_make_rooms(), reason="needs root and nft")


@pytest.fixture(scope="module")
def started(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Units]:
    """Both, started once."""
    with running_units(target, egress) as units:
        yield units


@pytest.fixture
def units(started: Units) -> Units:
    """Both, running; they have served other tests."""
    started.service.be_ready()
    return started


def _rules(service: Service, which: str = "") -> str:
    """The guard's table as the kernel has it, or the one of speed limits; empty when there is none."""
    command = ["nft", "list", "table", "inet", table_of(service.data_dir) + which]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@needs_nft
def test_the_rules_of_the_kernel_stay_when_the_server_goes(units: Units) -> None:
    """Xray needs the guard, and customers' limits hold, as long as Xray lives; the next server has the same rules."""
    service = units.service
    assert service.client.post("/api/keys", json={"name": "slow", "speed_limit_mbps": 5}).is_success
    guard, limits = _rules(service), _rules(service, "_speed")
    assert guard
    assert limits
    assert service.stop() == 0
    assert (_rules(service), _rules(service, "_speed")) == (guard, limits)
    service.start()
    service.wait_ready()
    assert (_rules(service), _rules(service, "_speed")) == (guard, limits)


@needs_nft
def test_no_xray_starts_without_the_guard(units: Units, byte_server: ByteServer) -> None:
    """As after a boot, where Xray may be quicker than the server: whoever starts Xray puts the guard there."""
    service, supervisor = units
    key, rules = make_key(service), _rules(service)
    assert service.stop() == 0
    subprocess.run(["nft", "delete", "table", "inet", table_of(service.data_dir)], check=True)
    xray = supervisor.xray_pid()
    os.kill(xray, signal.SIGKILL)
    assert wait_until(lambda: supervisor.is_xray() and supervisor.lives[-1].pid != xray)
    assert _rules(service) == rules
    service.start()
    with XrayClient(link_of(service, key)) as client:
        assert carries(client.socks, byte_server)


def test_one_that_comes_first_waits(target: RealityTarget, egress: tuple[str, ...], byte_server: ByteServer) -> None:
    """Without a config.json there is nothing to start Xray with; the server makes it."""
    service = Service(target, egress_allow=egress, settings=SETTINGS)
    try:
        with XraySupervisor(service) as supervisor:
            assert wait_until(lambda: bool(supervisor.lives) and "Xray waits for" in supervisor.log())
            service.start()
            service.wait_ready()
            with XrayClient(link_of(service, make_key(service))) as client:
                assert carries(client.socks, byte_server)
            assert supervisor.log().count("Xray waits for") == 1
            assert supervisor.starts == 1
    finally:
        service.close()


def test_a_taken_port_keeps_nobody_else_out(units: Units, byte_server: ByteServer) -> None:
    """Without the server: Xray dies of the port once and starts without it; the server adds it when it is free."""
    service, supervisor = units
    lost, kept = make_key(service), make_key(service)
    with XrayClient.many([link_of(service, key) for key in (lost, kept)]) as client:
        assert service.stop() == 0
        xray = supervisor.xray_pid()
        with socket.socket() as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            os.kill(xray, signal.SIGKILL)
            assert wait_until(lambda: _takes(thief, lost["port"]))
            assert wait_until(lambda: carries(client.proxies[1], byte_server, timeout=0.5))
            assert not procfs.listens([supervisor.xray_pid()], "127.0.0.1", lost["port"])
        service.start()
        service.wait_ready()
        assert wait_until(lambda: carries(client.proxies[0], byte_server, timeout=0.5))
    assert agreement(service) == []


def _takes(thief: socket.socket, port: int) -> bool:
    try:
        thief.bind(("127.0.0.1", port))
    except OSError:
        return False
    thief.listen()
    return True


def test_there_is_never_a_second_xray(units: Units, byte_server: ByteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who runs the command by hand is told, and takes nothing away from the one that runs."""
    service, supervisor = units
    starts = supervisor.starts
    with XrayClient(link_of(service, make_key(service))) as client:
        done = service.program("xray", "run")
        assert (done.returncode, "runs on" in done.stderr) == (1, True), done.stderr
        assert carries(client.socks, byte_server)
    assert supervisor.starts == starts
    monkeypatch.delitem(service.env, "VPNKEYS_XRAY_SUPERVISOR")
    done = service.program("xray", "run")
    assert (done.returncode, "VPNKEYS_XRAY_SUPERVISOR" in done.stderr) == (2, True), done.stderr


def _next_states(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().split("\n")


def test_the_service_manager_is_told(target: RealityTarget, tmp_path: Path) -> None:
    """Ready when the API listens, alive also while there is no Xray at all, and when the end begins."""
    settings = {**SETTINGS, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        with Service(target, settings=settings) as service:
            where = f"STATUS=Serving on 127.0.0.1:{service.address[1]}"
            assert _next_states(manager) == ["READY=1", where]
            assert service.client.get("/health").json()["services"]["xray"] != "running"
            for _ in range(5):
                assert _next_states(manager) == ["WATCHDOG=1", where]
            assert service.stop() == 0
            while (states := _next_states(manager)) == ["WATCHDOG=1", where]:
                pass
            assert states == ["STOPPING=1", "STATUS=Ending in order"]
