"""What strangers get at a key's port: an ordinary site, and no free relay."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from statistics import median

import pytest
from tests.support.keys import Key, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.socks import Address
from tests.support.target import RealityTarget, page_of

from vpnkeys.domain.reality import fallback_limits
from vpnkeys.store.files.secrets import load_key_pair

pytestmark = pytest.mark.e2e

PAGE_BYTES = 3_000_000  # a heavy front page, in one piece
MORE_S = 1.0
LOOK_S = 3.0
MUCH = 32 * 2**20
MORE_BYTES = 2**20
IN_BUFFERS = 16 * 2**20  # of the kernel, between a sender and REALITY


@pytest.fixture(scope="module")
def key(service: Service) -> Key:
    """A key, at whose port strangers knock."""
    return make_key(service, "customer")


@pytest.fixture
def stranger(target: RealityTarget, service: Service, key: Key) -> Iterator[ssl.SSLSocket]:
    """A TLS connection of somebody without a key to the key's port."""
    with _connect(target, ("127.0.0.1", key["port"]), key["sni"]) as sock:
        yield sock


def _connect(target: RealityTarget, address: Address, name: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(target.ca_file))
    context.set_alpn_protocols(["http/1.1"])
    return context.wrap_socket(socket.create_connection(address, 60), server_hostname=name)


def _fetch(sock: ssl.SSLSocket, size: int) -> Iterator[bytes]:
    """Ask for a page and yield its answer, head included, in pieces."""
    sock.sendall(b"GET /%d HTTP/1.1\r\nHost: site\r\n\r\n" % size)
    left = size
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(4096)
    piece = head.partition(b"\r\n\r\n")[2]
    while left:
        yield piece
        left -= len(piece)
        piece = sock.recv(65536) if left else b""
        assert piece or not left


def _look_at(target: RealityTarget, address: Address, name: str) -> tuple[bytes | None, str, float]:
    """What a probe sees: the certificate, the page's hash, and the seconds that all of it took."""
    began = time.monotonic()
    with _connect(target, address, name) as sock:
        certificate = sock.getpeercert(binary_form=True)
        page = hashlib.sha256(b"".join(_fetch(sock, PAGE_BYTES))).hexdigest()
    return certificate, page, time.monotonic() - began


def test_a_probe_sees_the_site(target: RealityTarget, key: Key, record_property: Callable[[str, object], None]) -> None:
    """Certificate and page at the key's port are the target's own, and come in about the same time."""
    host, _, port = target.address.rpartition(":")
    there, here = (host, int(port)), ("127.0.0.1", key["port"])
    rounds = [(_look_at(target, there, key["sni"]), _look_at(target, here, key["sni"])) for _ in range(7)]
    for (certificate, page, _), seen in rounds:
        assert seen[:2] == (certificate, page)
        assert page == hashlib.sha256(page_of(PAGE_BYTES)).hexdigest()
    direct, through = (median(one[at][2] for one in rounds) for at in (0, 1))
    said = f"page of {PAGE_BYTES} bytes, 7 rounds: from the target {direct:.3f} s, at the key's port {through:.3f} s"
    record_property("measured", said)
    print(said)  # noqa: T201 - docs/adr/0023-fallback.md has it
    assert through - direct < MORE_S * slowness()


def test_a_download_through_the_port_becomes_slow(service: Service, key: Key, stranger: ssl.SSLSocket) -> None:
    """After the first megabytes a stranger gets a trickle, and /metrics counts it."""
    _, down = fallback_limits(key["sni"], load_key_pair(service.data_dir).private_key)
    got, began, ends_at = 0, time.monotonic(), float("inf")
    for piece in _fetch(stranger, MUCH):
        got += len(piece)
        if got >= down.after_bytes:
            ends_at = min(ends_at, time.monotonic() + LOOK_S)
        if time.monotonic() > ends_at:
            break
    free = down.after_bytes + down.bytes_per_s  # the bucket is full at the beginning
    assert got < free + down.bytes_per_s * (time.monotonic() - began) + MORE_BYTES
    assert got < MUCH
    if service.client.get("/health").json()["udp_full_cone"] == "available":
        assert wait_until(lambda: _counted(service, "down") >= down.after_bytes)


def test_an_upload_through_the_port_becomes_slow(service: Service, key: Key, stranger: ssl.SSLSocket) -> None:
    """What a stranger sends is passed on at a trickle after the first megabytes."""
    stranger.settimeout(LOOK_S)
    sent = 0
    with suppress(TimeoutError):
        while sent < MUCH:
            sent += stranger.send(bytes(65536))
    up, _ = fallback_limits(key["sni"], load_key_pair(service.data_dir).private_key)
    assert sent < up.after_bytes + IN_BUFFERS < MUCH


def _counted(service: Service, direction: str) -> float:
    lines = service.client.get("/metrics").text.splitlines()
    name = f'vpnkeys_fallback_bytes_total{{direction="{direction}"}} '
    return next((float(line.removeprefix(name)) for line in lines if line.startswith(name)), 0.0)
