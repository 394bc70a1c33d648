"""Every byte is counted, to within what the protocol adds, and while it passes."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from tests.support.clients import Client, SingBoxClient, XrayClient
from tests.support.counting import Progress, download, lives, total_bytes, wire_bytes
from tests.support.keys import Key, delete_key, link_of, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.streams import ByteServer, transfer

pytestmark = pytest.mark.e2e

KB, MB = 1_000, 1_000_000
SIZES = (1 * KB, 1 * MB, 30 * MB)
LARGE, BIG = 100 * MB, 300 * MB
A_CONNECTION_ADDS = 2 * KB
LAG_S = 3.0
RATE = 1 * MB


def _is_right(total: int, payload: int) -> bool:
    """Within a thousandth and two kilobytes a connection."""
    return payload - A_CONNECTION_ADDS <= total <= payload * 1.001 + A_CONNECTION_ADDS


def _count(service: Service, client_type: type[Client], server: ByteServer, size: int) -> None:
    """Move so many bytes each way with a key of their own, and ask what was counted, at once and later."""
    key = make_key(service)
    with client_type(link_of(service, key)) as client:
        with server.open(client.socks, timeout=60.0) as sock:
            transfer(sock, size, size)
            at_once = total_bytes(service, key)
            # What passes through the VPN is what is on the wire here: the payload, and the user's own TLS around it.
            payload = wire_bytes(sock)
        assert payload >= 2 * size
        assert _is_right(at_once, payload), (at_once, payload)
        time.sleep(0.5)
        later = total_bytes(service, key)
        assert at_once <= later
        assert _is_right(later, payload), (later, payload)
    delete_key(service, key)


@pytest.mark.parametrize("size", SIZES, ids=["1 kB", "1 MB", "30 MB"])
def test_bytes_are_counted(service: Service, client_type: type[Client], byte_server: ByteServer, size: int) -> None:
    """So many bytes up and as many down, plain: they are in the total at once, and it stays so."""
    _count(service, client_type, byte_server, size)


@pytest.mark.parametrize("size", SIZES, ids=["1 kB", "1 MB", "30 MB"])
def test_bytes_inside_tls_are_counted(
    service: Service, client_type: type[Client], tls_byte_server: ByteServer, size: int
) -> None:
    """The same with TLS 1.3 inside, where Vision takes its own cover off and lets the bytes through as they are."""
    _count(service, client_type, tls_byte_server, size)


def test_many_bytes_are_counted(service: Service, tls_byte_server: ByteServer) -> None:
    """The same with 100 MB each way."""
    _count(service, XrayClient, tls_byte_server, LARGE)


@pytest.mark.soak
def test_many_bytes_are_counted_in_every_way(
    service: Service, client_type: type[Client], byte_server: ByteServer, tls_byte_server: ByteServer
) -> None:
    """The same with 300 MB each way, by both clients, plain and inside TLS."""
    _count(service, client_type, byte_server, BIG)
    _count(service, client_type, tls_byte_server, BIG)


def _is_answered(service: Service, key: Key) -> bool:
    return service.client.get(f"/api/keys/{key['id']}/traffic").is_success


def test_what_has_passed_outlives_xray(service: Service, byte_server: ByteServer) -> None:
    """Soon after, with nobody asking, it is stored, and an Xray that is killed takes none of it along; three times."""
    key = make_key(service)
    payload = 0
    for _ in range(3):
        with XrayClient(link_of(service, key)) as client, byte_server.open(client.socks, timeout=60.0) as sock:
            transfer(sock, 10 * MB, 10 * MB)
            payload += wire_bytes(sock)
        deadline = time.monotonic() + LAG_S * slowness()
        while not _is_right(stored := sum(life.used_bytes for life in lives(service.database, key)), payload):
            assert time.monotonic() < deadline, (stored, payload)
            time.sleep(0.1)
        os.kill(service.xray_pid(), signal.SIGKILL)
        assert wait_until(lambda: _is_answered(service, key))
        assert _is_right(total_bytes(service, key), payload)
    delete_key(service, key)


def _follow(service: Service, client_type: type[Client], server: ByteServer, seconds: int) -> None:
    """Download slowly inside TLS: what the timer has put in the database must follow, and what a request says more so.

    The requests are in the last seconds only, as each is a sample too.
    """
    key, progress = make_key(service), Progress()
    database = service.database
    with client_type(link_of(service, key)) as client:
        arguments = (client.socks, server, seconds * RATE, RATE, progress)
        thread = threading.Thread(target=download, args=arguments)
        thread.start()
        alone_until = time.monotonic() + seconds - 2.0
        while time.monotonic() < alone_until:
            at = time.monotonic()
            counted = sum(life.used_bytes for life in lives(database, key))
            assert progress.lag_s(at, counted) <= LAG_S * slowness()
            time.sleep(0.2)
        while thread.is_alive():
            arrived = progress.bytes
            assert total_bytes(service, key) >= arrived
            time.sleep(0.1)
        thread.join()
        assert progress.bytes == seconds * RATE
    delete_key(service, key)


def test_the_number_follows_a_slow_download(service: Service, tls_byte_server: ByteServer) -> None:
    """Fifteen seconds inside TLS 1.3: never three seconds behind with nobody asking, not a byte behind when asked."""
    _follow(service, SingBoxClient, tls_byte_server, 15)


@pytest.mark.soak
def test_the_number_follows_a_long_download(
    service: Service, client_type: type[Client], tls_byte_server: ByteServer
) -> None:
    """The same for a minute, by both clients."""
    _follow(service, client_type, tls_byte_server, 60)
