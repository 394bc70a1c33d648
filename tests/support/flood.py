"""A flood of TCP connections that say nothing, from addresses of the room's far end."""

from __future__ import annotations

import resource
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

from tests.support.room import FAR4, PUBLIC4, Room

_AT_ONCE = 500
_IN_ONE_PROCESS = 5000
"""Well below the descriptors that any machine lets a process have."""
_PREFIX = FAR4.rpartition(".")[0]
_FIRST = 100


class Flood:
    """Connections to ports of the server, in equal parts from so many addresses, opened on entering the context.

    The attacker keeps them open on his side, whatever the server does. He needs several processes: a system may bound
    the descriptors of one.
    """

    def __init__(self, room: Room, ports: list[int], count: int, sources: int = 1) -> None:
        """Describe the flood."""
        self._room, self._ports, self._count = room, ports, count
        self._sources = [f"{_PREFIX}.{_FIRST + number}" for number in range(sources)]
        self._processes = ExitStack()

    def __enter__(self) -> Self:
        """Open them all, as far as the server lets."""
        with self._processes, self._room.far():
            for source in self._sources:
                subprocess.run(["ip", "addr", "replace", f"{source}/24", "dev", "far"], check=True, capture_output=True)
            started = [
                self._start(min(_IN_ONE_PROCESS, self._count - begin))
                for begin in range(0, self._count, _IN_ONE_PROCESS)
            ]
            for process in started:
                assert process.stdout is not None
                assert process.stdout.readline() == "open\n"
            self._processes = self._processes.pop_all()
        return self

    def _start(self, count: int) -> subprocess.Popen[str]:
        """Start a process that opens so many connections, and holds them until its input ends."""
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.support.flood",
                ",".join(self._sources),
                ",".join(map(str, self._ports)),
                str(count),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self._processes.enter_context(process)  # leaving it closes the input and waits

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        self._processes.close()


def _open(sources: Sequence[str], ports: Sequence[int], numbers: range) -> list[socket.socket]:
    """Return so many sockets that connect, or try to."""
    opened = []
    for number in numbers:
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((sources[number % len(sources)], 0))
        with suppress(BlockingIOError):
            sock.connect((PUBLIC4, ports[number % len(ports)]))
        opened.append(sock)
    poll = select.poll()
    for sock in opened:
        poll.register(sock, select.POLLOUT)
    for _ in range(20):  # a round for each that the kernel answers, and an end for those that it does not
        if not poll.poll(50):
            break
    return opened


def _main(sources: Sequence[str], ports: Sequence[int], count: int) -> None:
    """Open the connections, say so, and hold them until the input ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
    held: list[socket.socket] = []
    for begin in range(0, count, _AT_ONCE):
        held += _open(sources, ports, range(begin, min(begin + _AT_ONCE, count)))
    sys.stdout.write("open\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    _main(sys.argv[1].split(","), [int(port) for port in sys.argv[2].split(",")], int(sys.argv[3]))
