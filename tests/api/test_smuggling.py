"""What comes over the wire is one request or none: for each there is one answer, and never a 500."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.service import Service
from tests.support.smuggling import HIDDEN, REFUSED, answers_in
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

_PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service of this module's own, which gets through no name: its API is all that is asked."""
    with Service(target) as service:
        yield service
        assert "Traceback" not in service.log()
        with service.new_client() as client:
            assert client.get("/api/keys").status_code == httpx.codes.OK


def _exchange(service: Service, *parts: bytes) -> tuple[list[int], bool]:
    """The statuses of all answers, and whether the server closed the connection; each part is sent after an answer."""
    context = ssl.create_default_context(cafile=str(service.data_dir / "tls" / "cert.pem"))
    received = b""
    with (
        socket.create_connection(service.address, _PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname=service.address[0]) as sock,
    ):
        try:
            for part in parts[:-1]:
                sock.sendall(part)
                received += sock.recv(65536)
            sock.sendall(parts[-1])
            while block := sock.recv(65536):
                received += block
        except TimeoutError:
            return answers_in(received), False
        except OSError:
            pass  # closed before all of it was sent
    return answers_in(received), True


def test_each_odd_request_gets_one_refusal_or_none(service: Service) -> None:
    """And the connection is closed, so that what is hidden in it never becomes a request."""
    with ThreadPoolExecutor(8) as pool:
        seen = dict(zip(REFUSED, pool.map(lambda form: _exchange(service, form), REFUSED.values()), strict=True))
    fine: tuple[list[int], ...] = ([], [400], [404], [405])
    assert {name: found for name, found in seen.items() if not (found[0] in fine and found[1])} == {}


@pytest.mark.parametrize("rest", [b"0;" + b"a" * 100_000, b"no number\r\n"], ids=["endless", "no chunk"])
def test_a_request_that_has_its_answer_gets_no_other(service: Service, rest: bytes) -> None:
    """What is wrong with its body comes too late: a second answer would be taken for that of the next request."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert _exchange(service, head, rest) == ([405], True)


def test_the_hidden_request_would_be_answered(service: Service) -> None:
    """The check above can fail: in the open, behind a sound request, it is a second one."""
    closing = HIDDEN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert _exchange(service, b"GET /api/ HTTP/1.1\r\nHost: x\r\n\r\n" + closing) == ([200, 200], True)


def _asked(service: Service, *headers: bytes, trailer: bytes) -> list[int]:
    """The statuses of a request without a body, all in one packet: head, last chunk, trailer."""
    lines = (b"GET /api/tokens/me HTTP/1.1", b"Host: x", b"Transfer-Encoding: chunked", b"Connection: close", *headers)
    return _exchange(service, b"\r\n".join((*lines, b"", b"0", trailer, b"", b"")))[0]


def test_a_trailer_says_nothing(service: Service) -> None:
    """Neither who asks nor what for: it comes after the head, which is what a proxy in front has checked."""
    right = f"X-API-Key: {service.api_key}".encode()
    assert _asked(service, trailer=right) == [401]
    for trailer in (b"X-API-Key: wrong", b"Authorization: Bearer wrong", b"Host: y", b"X-A: b"):
        assert _asked(service, right, trailer=trailer) == [200], trailer


def test_a_trailer_is_nobody_s_address(target: RealityTarget) -> None:
    """Behind a proxy a guesser is known by the header that the proxy adds."""
    settings = {"VPNKEYS_TRUSTED_PROXIES": "127.0.0.1", "VPNKEYS_RATE_LIMITS": "guess=3/minute"}
    with Service(target, settings=settings) as service:
        added = (b"X-Forwarded-For: 192.0.2.1", b"X-API-Key: wrong")
        seen = [_asked(service, *added, trailer=b"X-Forwarded-For: 198.51.100.%d" % number) for number in range(5)]
        assert seen == [[401]] * 3 + [[429]] * 2


# Pieces of which odd requests consist; none is a whole one with a body of its own.
_PIECES = st.sampled_from(
    [
        b"GET ", b"POST ", b"/api/", b"/api/keys", b"/%00", b"/..;/", b"?", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n",
        b"\r", b"Host: x", b"Host:", b"Content-Length: ", b"Transfer-Encoding: chunked", b"Expect: 100-continue",
        b"Upgrade: h2c", b"Connection: Upgrade", b"Connection: close", b"0", b"5", b"-1", b": ", b";", b"\0", b"\xff",
        b"\t", b" ", b"a" * 300, b"X-API-Key: x", b"Range: bytes=0-1", b"\r\n\r\n",
    ]
)  # fmt: skip


@settings(max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
@given(pieces=st.lists(_PIECES, min_size=1, max_size=20))
def test_whatever_comes_is_no_fault_of_the_server(service: Service, pieces: Sequence[bytes]) -> None:
    """No status from 500 on, and never more answers than requests could be in it."""
    sent = b"".join(pieces)
    # Ended by a line that is none, so that nothing is waited for.
    found, is_closed = _exchange(service, sent + b"\r\n\r\n\0\r\n\r\n")
    assert is_closed
    assert all(status < 500 for status in found), found
    assert len(found) <= sent.count(b"HTTP/1.") + 1
