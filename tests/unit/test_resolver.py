"""Names are resolved within a time, whatever the system's resolver does."""

import socket
import threading
import time

import pytest

from vpnkeys.xray.probe.resolver import addresses_of


def test_addresses_and_names() -> None:
    """An address is itself; a name that nobody knows is an error of the resolver."""
    assert addresses_of("127.0.0.1", 10.0) == ("127.0.0.1",)
    assert addresses_of("::1", 10.0) == ("::1",)
    assert "127.0.0.1" in addresses_of("localhost", 10.0)
    with pytest.raises(socket.gaierror):
        addresses_of("no-such-host.invalid", 60.0)


def test_an_address_is_asked_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each creation of a key asks: it begins no thread where no name has to be resolved."""
    monkeypatch.setattr(threading.Thread, "start", lambda thread: pytest.fail(f"{thread.name} was started"))
    assert addresses_of("192.0.2.1", 10.0) == ("192.0.2.1",)
    assert addresses_of("2001:db8:0::1", 10.0) == ("2001:db8::1",)


def test_a_lost_question_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one gets no answer; the second does, long before the resolver would have asked again."""
    ended, questions = threading.Event(), []

    def getaddrinfo(host: str, *_args: object, **_kinds: object) -> list[tuple[object, ...]]:
        questions.append(host)
        if len(questions) == 1:
            ended.wait(60.0)
            return []
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert addresses_of("lossy.example", 1.0) == ("192.0.2.1",)
    ended.set()
    assert questions == ["lossy.example", "lossy.example"]


def test_a_dead_name_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the same kind as for a name that does not exist."""
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kinds: answered.wait(60.0) and [])
    began = time.monotonic()
    with pytest.raises(socket.gaierror, match="does not answer"):
        addresses_of("slow.example", 0.05)
    answered.set()
    assert time.monotonic() - began < 30.0
