"""What an agent waits for arrives, or it asks again: a connection may die without a sign."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
from tests.support.process import wait_until

from vpnkeys.client import ApiError, Client
from vpnkeys.client._calls import text
from vpnkeys.client._waiting import Waiting


@dataclass
class Silent:
    """Takes connections and never answers."""

    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    taken: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def take(self) -> None:
        """Take all that come."""
        try:
            while True:
                self.taken.append(self.listener.accept()[0])
        except OSError:
            return


@pytest.fixture
def silent() -> Iterator[Silent]:
    """One that listens."""
    made = Silent()
    thread = threading.Thread(target=made.take)
    thread.start()
    yield made
    made.listener.shutdown(socket.SHUT_RDWR)
    made.listener.close()
    thread.join()
    for sock in made.taken:
        sock.close()


@dataclass
class Asking:
    """A request that waits in a thread."""

    waiting: Waiting
    ended: list[ApiError] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Send it."""
        self.thread = threading.Thread(target=self._ask, daemon=True)
        self.thread.start()

    def _ask(self) -> None:
        try:
            self.waiting.send(text("GET", "/"), "old")
        except ApiError as error:
            self.ended.append(error)


def test_a_request_whose_answer_got_lost_ends_when_that_shows(silent: Silent) -> None:
    """The other side says that something else is wanted: it is asked again at once, and not after a minute."""
    waiting = Waiting(Client.over(httpx.Client(base_url=silent.url, timeout=600.0, trust_env=False)))
    asking = Asking(waiting)
    assert wait_until(lambda: bool(silent.taken))
    waiting.doubt("old")
    assert asking.thread.is_alive()
    waiting.doubt("new")
    asking.thread.join(60.0)
    assert [error.status for error in asking.ended] == [None]
    waiting.doubt("new")  # nothing waits
    waiting.close()


def test_the_kernel_asks_whether_the_other_side_is_there(silent: Silent) -> None:
    """So a dead way is found out also while nothing is said."""
    waiting = Waiting(Client.over(httpx.Client(base_url=silent.url, timeout=600.0, trust_env=False)))
    asking = Asking(waiting)
    assert wait_until(lambda: bool(silent.taken) and waiting._socket is not None)
    assert waiting._socket is not None
    assert waiting._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert waiting._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 10
    silent.taken[0].close()
    asking.thread.join(60.0)
    assert len(asking.ended) == 1
    waiting.close()
