"""What strangers, customers and the smallest token tried over the wire: they take nothing from others."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

STREAMS, MOST_STREAMS = 100, 20
SIGN_INS, SENT_AHEAD = 1001, 11
BACKUPS = 11
LEAST_MEANWHILE = 4
READERS, MOST_BEFORE_ANOTHER = 40, 10
_PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service of this module's own."""
    with Service(target) as service:
        service.wait_ready()
        yield service


@pytest.fixture(scope="module")
def context(service: Service) -> ssl.SSLContext:
    """A context that trusts it; making one takes longer than a handshake."""
    return ssl.create_default_context(cafile=str(service.data_dir / "tls" / "cert.pem"))


@pytest.fixture
def token(service: Service) -> str:
    """A token of the smallest scope."""
    made: str = service.client.post("/api/tokens", json={"name": "reader", "scope": "read"}).json()["token"]
    return made


def _connect(service: Service, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(service.address, _PATIENCE_S)
    return context.wrap_socket(plain, server_hostname=service.address[0])


def _asked(service: Service, context: ssl.SSLContext, head: str) -> bytes:
    """The whole answer to a request, as it is on the wire."""
    received = b""
    with _connect(service, context) as sock:
        sock.sendall(f"{head}\r\nConnection: close\r\n\r\n".encode())
        while block := sock.recv(65536):
            received += block
    return received


@pytest.mark.parametrize("path", ["/api/keys", "/api/tokens/me", "/metrics"])
@pytest.mark.parametrize("is_right_first", [True, False])
def test_two_keys_in_one_request(service: Service, context: ssl.SSLContext, path: str, is_right_first: bool) -> None:
    """Whichever comes first, and on whichever path: nobody is let in."""
    first, second = ("wrong", service.api_key)[:: -1 if is_right_first else 1]
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {first}\r\nX-API-Key: {second}"
    assert _asked(service, context, head).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("path", ["/docs/", "/api/keys/", "/ui"])
def test_a_host_that_is_not_ours_is_in_no_redirect(service: Service, context: ssl.SSLContext, path: str) -> None:
    """The browser stays on the server that it asked."""
    head = f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example"
    answer = _asked(service, context, head)
    assert answer.startswith(b"HTTP/1.1 307 ")
    assert b"\r\nlocation: ." in answer.lower()
    assert b"evil" not in answer


def test_odd_methods_leave_metrics_as_they_are(service: Service, context: ssl.SSLContext) -> None:
    """After a first round a second one adds no series, whichever paths it asks for."""

    def series() -> set[str]:
        lines = service.client.get("/metrics").text.splitlines()
        return {line.rpartition(" ")[0] for line in lines if line.startswith("vpnkeys_http_")}

    def ask_all(*paths: str) -> None:
        for path in paths:
            for method in ("PUT", "PROPFIND", "M-SEARCH"):
                _asked(service, context, f"{method} {path} HTTP/1.1\r\nHost: x")

    ask_all("/", "/made-up")
    series()  # asking is counted too
    before = series()
    ask_all("/api/keys", "/api/audit", "/api/keys/x/traffic", "/metrics", "/made-up-too")
    assert series() == before


def _sign_in_often(service: Service, context: ssl.SSLContext, token: str, times: int) -> int:
    """How many of so many sign-ins went well, on one connection."""
    body = f'{{"token": "{token}"}}'.encode()
    head = b"POST /ui/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    signed_in = 0
    with _connect(service, context) as sock:
        for _ in range(0, times, SENT_AHEAD):
            sock.sendall((head % len(body) + body) * SENT_AHEAD)
            received = b""
            while received.count(b"HTTP/1.1 ") < SENT_AHEAD or not received.endswith(b"}"):
                received += sock.recv(65536)
            signed_in += received.count(b"HTTP/1.1 200 ")
    return signed_in


def test_signing_in_often_ends_nobody_else_s_session(service: Service, context: ssl.SSLContext, token: str) -> None:
    """An admin's browser is still signed in after a reader's 1,001."""
    with service.new_client(api_key="") as browser:
        browser.post("/ui/session", json={"token": service.api_key}).raise_for_status()
        assert _sign_in_often(service, context, token, SIGN_INS) == SIGN_INS
        assert browser.get("/ui/session").status_code == httpx.codes.OK


def test_many_backups_at_once_push_out_no_earlier_day(service: Service) -> None:
    """Of each day before today there is one, though a stolen admin token makes eleven more."""
    directory = service.data_dir / "backups"
    directory.mkdir(exist_ok=True)
    days = [datetime.now(UTC) - timedelta(days=day) for day in range(1, 7)]
    for day in days:
        for hour in (1, 2, 3):
            (directory / f"vpnkeys-{day:%Y%m%d}-{hour:02}0000.backup").write_bytes(b"")
    for _ in range(BACKUPS):
        service.client.post("/api/backups").raise_for_status()
    left = {path.name for path in directory.iterdir()}
    assert left >= {f"vpnkeys-{day:%Y%m%d}-010000.backup" for day in days}


def test_a_hundred_streams_of_one_token(service: Service, context: ssl.SSLContext, token: str) -> None:
    """Twenty are open, the others are refused; somebody else still gets one."""
    with ExitStack() as stack:
        begun = []
        for key in [token] * STREAMS + [service.api_key]:
            sock = stack.enter_context(_connect(service, context))
            sock.sendall(f"GET /api/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\r\n".encode())
            begun.append(sock.recv(12)[9:])
    assert begun == [b"200"] * MOST_STREAMS + [b"429"] * (STREAMS - MOST_STREAMS) + [b"200"]


def test_the_description_of_the_api_holds_up_nobody(service: Service) -> None:
    """While it is made, at the first request for it, others are answered."""
    with service.new_client(api_key="") as stranger, ThreadPoolExecutor(1) as pool:
        stranger.get("/api/").raise_for_status()
        asking = pool.submit(stranger.get, "/openapi.json")
        answered = 0
        while not asking.done():
            service.client.get("/api/").raise_for_status()
            answered += 1
    assert asking.result().status_code == httpx.codes.OK
    assert answered > LEAST_MEANWHILE


@contextmanager
def _reading(service: Service, context: ssl.SSLContext, path: str, source: str) -> Iterator[list[int]]:
    """Many connections of one address that ask for a page again and again; the list grows by each answer."""
    is_over, answers = threading.Event(), list[int]()

    def read() -> None:
        transport = httpx.HTTPTransport(verify=context, local_address=source)
        with httpx.Client(base_url=service.base_url, transport=transport, timeout=_PATIENCE_S) as client:
            while not is_over.is_set():
                answers.append(client.get(path, headers={"Accept": "text/html"}).status_code)

    with ThreadPoolExecutor(READERS) as pool:
        reading = [pool.submit(read) for _ in range(READERS)]
        try:
            assert wait_until(lambda: len(answers) > 2 * READERS)
            yield answers
        finally:
            is_over.set()
        assert [one.exception() for one in reading] == [None] * READERS


def test_who_reads_his_subscription_without_end_waits_for_himself(service: Service, context: ssl.SSLContext) -> None:
    """Another customer's turn comes at once, and not after all that were asked for before."""
    keys = [service.client.post("/api/keys", json={"name": "customer"}).json()["id"] for _ in range(2)]
    paths = [service.client.post(f"/api/keys/{key}/subscription").json()["url"] for key in keys]
    passed = []
    with _reading(service, context, paths[0], "127.0.0.2") as answers:
        for _ in range(5):
            before = len(answers)
            service.client.get(paths[1]).raise_for_status()
            passed.append(len(answers) - before)
        assert {*answers} == {httpx.codes.OK}
    assert sorted(passed)[2] < MOST_BEFORE_ANOTHER, passed
