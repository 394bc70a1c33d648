"""Xray does not answer, or answers late: what was stopped is stopped, what was not started is nowhere."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
from tests.support.agreement import agreement
from tests.support.clients import XrayClient
from tests.support.keys import Key, carries, link_of, list_keys, make_key
from tests.support.patient import patient_service
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.streams import ByteServer, ended_within, transfer
from tests.support.supervisor import running_units
from tests.support.target import RealityTarget

from vpnkeys.xray.process.hang import HUNG_AFTER_S
from vpnkeys.xray.rpc.counters import XrayCounters

pytestmark = pytest.mark.e2e

LATE_S = 1.0
CALL_S = 1.2  # how long a call waits for Xray: the repairer may have just begun one


@pytest.fixture
def service(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """A service of the test's own."""
    with Service(target, egress_allow=egress) as service:
        service.wait_ready()
        yield service


@pytest.fixture
def patient(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """One that lets Xray hang for a minute, so that late calls are still in its queue after many requests."""
    with patient_service(target, egress) as service:
        yield service


def _delete(service: Service, key: Key) -> httpx.Response:
    return service.client.delete(f"/api/keys/{key['id']}")


def _is_pending(answer: httpx.Response) -> bool:
    assert int(answer.headers["retry-after"]) > 0
    return (answer.status_code, answer.json()["code"]) == (503, "stop_pending")


def test_stops_hold_and_starts_leave_nothing(patient: Service, byte_server: ByteServer) -> None:
    """Deleted while Xray hangs: written at once, 503 until it is true, then 200 once, then 404. The other stays."""
    service = patient
    deleted, disabled, stays = (make_key(service) for _ in range(3))
    with XrayClient.many([link_of(service, key) for key in (deleted, disabled, stays)]) as client:
        with byte_server.open(client.proxies[0]) as open_sock:
            transfer(open_sock, 1_000, 1_000)
            os.kill(service.xray_pid(), signal.SIGSTOP)
            try:
                assert service.client.post("/api/keys", json={"name": "never"}).status_code == 503
                assert _is_pending(_delete(service, deleted))
                off = service.client.patch(f"/api/keys/{disabled['id']}", json={"is_active": False})
                assert _is_pending(off)
                assert service.client.get(f"/api/keys/{deleted['id']}").status_code == 404
                assert service.client.get(f"/api/keys/{disabled['id']}").json()["status"] == "disabled"
                assert _is_pending(_delete(service, deleted))
                assert [key["id"] for key in list_keys(service)] == [disabled["id"], stays["id"]]
            finally:
                os.kill(service.xray_pid(), signal.SIGCONT)
            service.child.wait_for(lambda: _delete(service, deleted).status_code == 200, "the delete to be true")
            assert ended_within(open_sock, 1.0)
        assert _delete(service, deleted).status_code == 404
        off = service.client.patch(f"/api/keys/{disabled['id']}", json={"is_active": False})
        assert off.status_code == 200
        time.sleep(LATE_S)
        assert agreement(service) == []
        assert [carries(proxy, byte_server, timeout=3.0) for proxy in client.proxies] == [False, False, True]


def test_readers_keep_no_stop_waiting(patient: Service) -> None:
    """While Xray hangs, a delete takes as long beside three who look at how all compares as it takes alone."""
    service = patient
    alone, beside = make_key(service), make_key(service)
    os.kill(service.xray_pid(), signal.SIGSTOP)
    took_alone = _time_of_delete(service, alone)
    ended = threading.Event()

    def read() -> None:
        with service.new_client() as client:
            while not ended.is_set():
                client.get("/api/system/config-status").raise_for_status()

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        time.sleep(LATE_S)  # they are all at it
        took_beside = _time_of_delete(service, beside)
        ended.set()
    assert [reader.exception() for reader in readers] == [None] * 3
    os.kill(service.xray_pid(), signal.SIGCONT)
    sys.stdout.write(f"a delete took {took_alone:.1f} s alone, {took_beside:.1f} s beside readers\n")
    assert took_beside < took_alone + 2 * CALL_S


def _time_of_delete(service: Service, key: Key) -> float:
    began = time.monotonic()
    assert _is_pending(_delete(service, key))
    return time.monotonic() - began


def test_a_stop_outlives_the_service(service: Service, byte_server: ByteServer) -> None:
    """Killed while a stop is pending, the next life knows of it: the client hears that it is true, once."""
    deleted, stays = make_key(service), make_key(service)
    links = [link_of(service, key) for key in (deleted, stays)]
    os.kill(service.xray_pid(), signal.SIGSTOP)
    assert _is_pending(_delete(service, deleted))
    service.kill()
    service.start()
    service.wait_ready()
    service.child.wait_for(lambda: _delete(service, deleted).status_code == 200, "the delete to be true")
    assert _delete(service, deleted).status_code == 404
    assert [key["id"] for key in list_keys(service)] == [stays["id"]]
    with XrayClient.many(links) as client:
        assert [carries(proxy, byte_server, timeout=3.0) for proxy in client.proxies] == [False, True]
    assert agreement(service) == []


def test_hung_xrays_are_replaced(
    service: Service, target: RealityTarget, egress: tuple[str, ...], byte_server: ByteServer
) -> None:
    """Frozen for good, each is ended after ten seconds; the next one carries the keys' traffic, and the log says why.

    One is the server's own child; the other has another supervisor, which starts the next one when the server ends it.
    """
    with running_units(target, egress) as units, ExitStack() as stack:
        pids = {service: service.xray_pid, units.service: _pid_by_xray(units.service)}
        frozen = {server: pid() for server, pid in pids.items()}
        clients = {server: stack.enter_context(XrayClient(link_of(server, make_key(server)))) for server in pids}
        assert all(carries(client.socks, byte_server) for client in clients.values())
        time.sleep(2.0)  # they have answered the watch: one that starts is given more time
        with ThreadPoolExecutor(len(pids)) as pool:
            waits = [
                pool.submit(_hang_and_wait, server, byte_server, frozen[server], clients[server]) for server in pids
            ]
            for wait in waits:
                wait.result()
        for server, pid in pids.items():
            assert pid() != frozen[server]
            assert f"process {frozen[server]}) lives and has not answered" in server.log()
            assert agreement(server) == []


def _pid_by_xray(service: Service) -> Callable[[], int]:
    return XrayCounters(service.data_dir / "run" / "api.sock").pid


def _hang_and_wait(service: Service, byte_server: ByteServer, frozen: int, client: XrayClient) -> None:
    os.kill(frozen, signal.SIGSTOP)
    began = time.monotonic()
    service.child.wait_for(lambda: carries(client.socks, byte_server, timeout=1.0), "a new Xray", 15 * slowness())
    assert time.monotonic() - began >= HUNG_AFTER_S
