"""A server that starts replaces the guard under a living Xray: there is no moment in which a marked packet passes."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from typing import Self

import pytest
from tests.support.room import can_make_rooms

from vpnkeys.xray.host.guard import Guard, Policy

pytestmark = pytest.mark.skipif(not can_make_rooms(), reason="needs root and nft")

MARK = 1 << 24 | 0x62
STARTS = 30


@pytest.fixture
def table() -> Iterator[str]:
    """A table's name that is free again afterwards."""
    name = f"vpnkeys_test_{os.getpid()}"
    yield name
    subprocess.run(["nft", "delete", "table", "inet", name], capture_output=True, check=False)


class Customer:
    """Sends marked datagrams to this host's loopback, one after the other."""

    def __init__(self) -> None:
        """Begin when the context is entered."""
        self._receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._receiver.bind(("127.0.0.1", 0))
        self._receiver.setblocking(False)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self.sent = 0

    def _send(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
            while not self._ending.is_set():
                sender.sendto(b"marked", self._receiver.getsockname())
                self.sent += 1

    def arrived(self) -> bool:
        """Whether any has got there."""
        try:
            return bool(self._receiver.recv(16))
        except BlockingIOError:
            return False

    def __enter__(self) -> Self:
        """Start sending."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._ending.set()
        self._thread.join()
        self._receiver.close()


def test_no_packet_passes_while_the_guard_is_replaced(table: str) -> None:
    """Thirty starts of servers, each with a guard of its own and now and then with other rules, under fire."""
    Guard(table, Policy(MARK)).install()
    with Customer() as customer:
        for number in range(STARTS):
            allow = ((f"10.0.0.{number // 3}/32", None),)
            before = customer.sent
            Guard(table, Policy(MARK, allow)).install()
            assert customer.sent > before
            assert not customer.arrived()
        subprocess.run(["nft", "delete", "table", "inet", table], check=True)
        before = customer.sent
        while customer.sent < before + 10:
            pass
        assert customer.arrived()
