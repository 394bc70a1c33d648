"""An Xray that says nothing: the answer is 503, soon, and the accounts are as they were."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from tests.support.binaries import xray_binary
from tests.support.clients import XrayClient
from tests.support.counting import Life, api_socket, lives, settled_xray_bytes, total_bytes
from tests.support.keys import Key, link_of, make_key
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.streams import ByteServer, transfer
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

WITHIN_S = 3.0
SLOW_S = 10.0
ASKERS = 6


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Xray of this module's own, which can be taken away."""
    return Path(shutil.copy2(xray_binary(), tmp_path_factory.mktemp("bin") / "xray"))


@pytest.fixture(scope="module")
def service(target: RealityTarget, egress: tuple[str, ...], binary: Path) -> Iterator[Service]:
    """A service that samples only when asked."""
    settings = {"VPNKEYS_XRAY_BIN": str(binary), "VPNKEYS_TRAFFIC_INTERVAL_S": "0"}
    with Service(target, egress_allow=egress, settings=settings) as service:
        service.wait_ready()
        yield service


@pytest.fixture
def key(service: Service, byte_server: ByteServer) -> Key:
    """A key that has used something, some of it sampled."""
    key = make_key(service)
    with XrayClient(link_of(service, key)) as client, byte_server.open(client.socks) as sock:
        transfer(sock, 50_000, 50_000)
        assert total_bytes(service, key) >= 100_000
        transfer(sock, 50_000, 50_000)
    return key


def _state(service: Service, key: Key) -> list[Life]:
    return lives(service.database, key)


def _ask(service: Service, method: str, path: str) -> tuple[httpx.Response, float]:
    with service.new_client() as client:
        client.get("/health")  # the handshake is not the question
        began = time.monotonic()
        answer = client.request(method, path)
        return answer, time.monotonic() - began


def _is_refused_soon(service: Service, key: Key) -> None:
    """Reading and resetting, one after the other and many at once, change nothing."""
    before = _state(service, key)
    path = f"/api/keys/{key['id']}/traffic"
    alone = [_ask(service, "GET", path), _ask(service, "POST", f"{path}/reset")]
    with ThreadPoolExecutor(ASKERS) as pool:
        together = [pool.submit(_ask, service, "GET", path) for _ in range(ASKERS)]
        answers = [*alone, *(one.result() for one in together)]
    slow = slowness()
    for answer, took in answers:
        assert answer.status_code == 503, answer.text
        assert answer.json()["code"] == "xray_unavailable"
        assert int(answer.headers["retry-after"]) > 0
        assert took < WITHIN_S * slow
    assert _state(service, key) == before


def _works_again(service: Service, key: Key, floor: int) -> None:
    assert total_bytes(service, key) >= floor


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def _slow_api(path: Path, *, takes_connections: bool = True) -> Iterator[None]:
    """A server on this Unix socket that says its first word after ten seconds; the one that was there comes back."""
    aside = path.with_name("aside.sock")
    path.rename(aside)
    ending, held = threading.Event(), []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(16 if takes_connections else 0)
        listener.settimeout(0.1)

        def serve() -> None:
            while not ending.is_set():
                with suppress(OSError):
                    connection, _ = listener.accept()
                    held.append((time.monotonic(), connection))
                for since, connection in held:
                    if time.monotonic() - since > SLOW_S:
                        with suppress(OSError):
                            connection.sendall(b"\0\0\0\4\0\0\0\0\0")  # HTTP/2 SETTINGS, at last

        thread = threading.Thread(target=serve)
        if takes_connections:
            thread.start()
        try:
            yield
        finally:
            ending.set()
            if takes_connections:
                thread.join()
            for _, connection in held:
                connection.close()
            aside.rename(path)


def test_a_stopped_xray(service: Service, key: Key) -> None:
    """It takes connections and answers nobody."""
    floor = settled_xray_bytes(service, key)
    with _stopped(service.xray_pid()):
        _is_refused_soon(service, key)
    _works_again(service, key, floor)
    assert total_bytes(service, key) == floor


def test_a_missing_socket(service: Service, key: Key) -> None:
    """Xray runs, and nobody finds it anew: it is asked by the connection that is open, until it is started again."""
    floor, path = settled_xray_bytes(service, key), api_socket(service)
    path.rename(path.with_name("aside.sock"))
    try:
        answer, _ = _ask(service, "GET", f"/api/keys/{key['id']}/traffic")
        assert (answer.status_code, answer.json()["total_bytes"]) == (200, floor)
    finally:
        path.with_name("aside.sock").rename(path)
    assert total_bytes(service, key) == floor


def test_an_api_that_takes_ten_seconds(service: Service, key: Key) -> None:
    """Somebody else's server, while the real Xray goes on: its counters are not taken for the other's either."""
    floor = settled_xray_bytes(service, key)
    with _slow_api(api_socket(service)):
        _is_refused_soon(service, key)
    assert total_bytes(service, key) == floor


def test_an_api_that_takes_nobody(service: Service, key: Key) -> None:
    """Its queue of connections is full: even to connect would wait for ever."""
    floor = settled_xray_bytes(service, key)
    with _slow_api(api_socket(service), takes_connections=False), socket.socket(socket.AF_UNIX) as first:
        first.connect(str(api_socket(service)))
        _is_refused_soon(service, key)
    assert total_bytes(service, key) == floor


def test_an_xray_that_cannot_come_back(service: Service, key: Key, binary: Path) -> None:
    """Killed, and its program gone; what was counted before is there when it is back, and the gap is shown."""
    floor = total_bytes(service, key)
    aside = binary.with_name("aside")
    binary.rename(aside)
    try:
        os.kill(_pid_of(service, aside), signal.SIGKILL)
        service.child.wait_for(
            lambda: service.client.get(f"/api/keys/{key['id']}/traffic").status_code == 503, "503 without Xray"
        )
        _is_refused_soon(service, key)
    finally:
        aside.rename(binary)
    service.wait_ready()
    _works_again(service, key, floor)
    assert total_bytes(service, key) == floor
    assert len(service.client.get(f"/api/keys/{key['id']}/traffic").json()["gaps"]) == 1


def _pid_of(service: Service, binary: Path) -> int:
    service._xray = binary  # where the kernel says it is now
    try:
        return service.xray_pid()
    finally:
        service._xray = Path(service.env["VPNKEYS_XRAY_BIN"])
