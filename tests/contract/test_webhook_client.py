"""What `domain.webhook.SendWebhook` promises, of the real one: one try, in time, to nowhere that it must not go."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support.receiver import Receiver

from vpnkeys.domain.webhook import SendResult
from vpnkeys.hooks.client import WebhookClient

HEADERS = {"Content-Type": "application/json", "X-Vpnkeys-Event": "ping"}


def send(url: str, timeout_s: float = 10.0) -> SendResult:
    """One try."""
    return asyncio.run(_send(url, timeout_s))


async def _send(url: str, timeout_s: float) -> SendResult:
    return await WebhookClient(timeout_s)(url, HEADERS, '{"name":"Мария"}')


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """One that says yes."""
    with Receiver() as receiver:
        yield receiver


def test_it_arrives_as_it_was_sent(receiver: Receiver) -> None:
    """Path, query, headers and body; and the receiver's status comes back."""
    receiver.answer = lambda _: 202
    assert send(receiver.url) == SendResult(202)
    (request,) = receiver.requests
    assert (request.path, request.body) == ("/hook?a=b", '{"name":"Мария"}'.encode())
    assert HEADERS.items() <= request.headers.items()
    assert request.headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["User-Agent"].startswith("vpnkeys/")


def test_a_redirect_is_an_answer(receiver: Receiver) -> None:
    """It is not followed."""
    receiver.answer = lambda _: 307
    receiver.headers["Location"] = receiver.url
    answer = send(receiver.url)
    assert (answer.status, answer.is_success, len(receiver.requests)) == (307, False, 1)


def test_localhost_is_tried_by_each_of_its_addresses(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that listens on one of them alone is found."""
    monkeypatch.setattr(socket, "getaddrinfo", names({"localhost": ["::1", "127.0.0.1"]}))
    assert send(f"http://localhost:{receiver.port}/").is_success
    assert receiver.requests[0].headers["Host"] == f"localhost:{receiver.port}"


def names(table: dict[str, list[str]]) -> Callable[..., list[tuple[Any, ...]]]:
    """A name service that knows these."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **more: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 - the socket's own
        name = host.decode() if isinstance(host, bytes) else host
        if not table.get(name, [name]):
            raise socket.gaierror("no such name")
        return [place for address in table.get(name, [name]) for place in real(address, *args, **more)]

    return getaddrinfo


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "127.0.0.1", "::1", "::ffff:169.254.1.1", "0.0.0.0"])  # noqa: S104
def test_a_name_that_leads_astray_is_not_followed(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """To metadata services or to this machine, also as one address of several; nothing is connected to."""
    monkeypatch.setattr(socket, "getaddrinfo", names({"innocent.example": ["192.0.2.1", address]}))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("somebody was connected to"))
    answer = send("https://innocent.example/")
    assert answer.status is None
    assert "address" in answer.error or "this machine" in answer.error


def test_what_was_looked_at_is_what_is_connected_to(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that means something else when asked again gains nothing: it is asked once."""
    asked: list[str] = []
    real = names({"localhost": ["127.0.0.1"]})

    def getaddrinfo(host: Any, *args: Any, **more: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 - the socket's own
        asked.append(str(host))
        return real(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert send(f"http://localhost:{receiver.port}/").is_success
    assert asked.count("localhost") == 1


def test_https_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate of an authority that is trusted, for the name of the URL; else nothing is sent."""
    with Receiver(tls=True) as receiver:
        assert "certificate" in send(receiver.url).error
        monkeypatch.setenv("SSL_CERT_FILE", str(receiver.ca_file))
        assert send(receiver.url) == SendResult(200)
        assert send(f"https://localhost:{receiver.port}/") == SendResult(200)
        monkeypatch.setattr(
            "vpnkeys.hooks.client.refusal_reason", lambda *_, **__: ""
        )  # so that a wrong name gets that far
        monkeypatch.setattr(socket, "getaddrinfo", names({"other.example": ["127.0.0.1"]}))
        assert "certificate" in send(f"https://other.example:{receiver.port}/").error
        assert len(receiver.requests) == 2


@contextlib.contextmanager
def odd_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Somebody who speaks no proper HTTP; the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def work() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        serve(connection)

        threading.Thread(target=work, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_a_silent_receiver_has_its_time() -> None:
    """And so has one that sends a byte now and then: all of it has one timeout."""
    done = threading.Event()

    def silent(_: socket.socket) -> None:
        done.wait(30)

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not done.wait(0.02):
            connection.sendall(b"x")

    for serve in (silent, drip):
        done.clear()
        with odd_server(serve) as url:
            assert "no answer within 0.3 s" in send(url, 0.3).error
            done.set()


def test_a_name_service_that_hangs_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it longer, not even at the end."""
    released, finished = threading.Event(), threading.Event()

    def getaddrinfo(*_: object, **__: object) -> list[tuple[Any, ...]]:
        released.wait(30)
        finished.set()
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert "no answer" in send("https://slow.example/", 0.2).error
    assert not finished.is_set()
    released.set()


def test_trouble_is_told_in_words_without_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody there, no such name, gone in the middle, no HTTP: an answer each, and never the URL's path."""

    def gone(connection: socket.socket) -> None:
        connection.recv(10_000)

    def rubbish(connection: socket.socket) -> None:
        connection.recv(10_000)
        connection.sendall(b"SSH-2.0-no\r\n\r\n")

    monkeypatch.setattr(socket, "getaddrinfo", names({"nobody.invalid": []}))
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with odd_server(gone) as left, odd_server(rubbish) as odd:
        urls = (f"http://127.0.0.1:{port}/", "https://nobody.invalid/", left, odd)
        answers = [send(f"{url}secret-path") for url in urls]
    assert all(answer.status is None and answer.error for answer in answers)
    assert "secret-path" not in str(answers)
    assert [answer.error for answer in answers[:2]] == ["it accepts no connections", "its name cannot be resolved"]


def test_an_endless_answer_is_not_read() -> None:
    """The status is all that counts."""

    def endless(connection: socket.socket) -> None:
        connection.recv(10_000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")

    with odd_server(endless) as url:
        assert send(url) == SendResult(200)


def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would go where we have not looked."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert send(receiver.url).is_success
