"""A flood of TCP connections that say nothing, from addresses of the room's far end."""

from __future__ import annotations

import resource
import select
import socket
import subprocess
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.support.room import FAR4, PUBLIC4, Room

_AT_ONCE = 500
_PREFIX = FAR4.rpartition(".")[0]
_FIRST = 100


class Flood:
    """Connections to ports of the server, in equal parts from so many addresses, opened on entering the context.

    The attacker keeps them open on his side, whatever the server does.
    """

    def __init__(self, room: Room, ports: list[int], count: int, sources: int = 1) -> None:
        """Describe the flood."""
        self._room, self._ports, self._count = room, ports, count
        self._sources = [f"{_PREFIX}.{_FIRST + number}" for number in range(sources)]
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        """Open them all, as far as the server lets."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, self._count + 2000)), hard))
        with self._room.far():
            for source in self._sources:
                subprocess.run(["ip", "addr", "add", f"{source}/24", "dev", "far"], check=True, capture_output=True)
            for begin in range(0, self._count, _AT_ONCE):
                self._open(range(begin, min(begin + _AT_ONCE, self._count)))
        return self

    def _open(self, numbers: range) -> None:
        opened = []
        for number in numbers:
            sock = socket.socket()
            sock.setblocking(False)
            sock.bind((self._sources[number % len(self._sources)], 0))
            with suppress(BlockingIOError):
                sock.connect((PUBLIC4, self._ports[number % len(self._ports)]))
            opened.append(sock)
        poll = select.poll()
        for sock in opened:
            poll.register(sock, select.POLLOUT)
        for _ in range(20):  # a round for each that the kernel answers, and an end for those that it does not
            if not poll.poll(50):
                break
        self._sockets += opened

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        for sock in self._sockets:
            sock.close()
