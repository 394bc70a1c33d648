"""How fast bytes arrive at their end: flows that last until they are ended, and their rate at any time."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Literal, Self

from tests.support.known_bytes import receive_line
from tests.support.socks import Address
from tests.support.streams import ByteServer

Direction = Literal["down", "up"]

_BYTES_PER_SECOND_OF_MBIT = 125_000
_FOR_EVER = 1 << 40
_CHUNK = bytes(32_768)


class Flow:
    """One connection that moves bytes one way as fast as it may; `bytes` are those that arrived."""

    def __init__(self, server: ByteServer, proxy: Address, direction: Direction) -> None:
        """Open the connection and begin."""
        self.bytes = 0
        self._sock = server.open(proxy, timeout=60)
        work = [self._download] if direction == "down" else [self._send_chunks, self._count_answers]
        self._threads = [threading.Thread(target=self._until_closed, args=(part,), daemon=True) for part in work]
        for thread in self._threads:
            thread.start()

    def _until_closed(self, part: object) -> None:
        assert callable(part)
        with suppress(OSError):
            part()

    @staticmethod
    def _request(up: int, down: int) -> bytes:
        return json.dumps({"up": up, "down": down, "seed": 1, "rate": None}).encode() + b"\n"

    def _download(self) -> None:
        self._sock.sendall(self._request(0, _FOR_EVER))
        buffer = bytearray(1 << 18)
        while count := self._sock.recv_into(buffer):
            self.bytes += count

    def _send_chunks(self) -> None:
        request = self._request(len(_CHUNK), 0)
        while True:
            self._sock.sendall(request + _CHUNK)

    def _count_answers(self) -> None:
        while line := receive_line(self._sock):
            self.bytes += json.loads(line)["received"]

    def close(self) -> None:
        """End the flow."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._sock.close()

    def __enter__(self) -> Self:
        """Flow until the end of the context."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the flow."""
        self.close()


def rate_of(flows: Sequence[Flow], seconds: float) -> float:
    """Mbit/s of all these flows together over the coming seconds."""
    before, started = sum(flow.bytes for flow in flows), time.monotonic()
    time.sleep(seconds)
    moved = sum(flow.bytes for flow in flows) - before
    return moved / _BYTES_PER_SECOND_OF_MBIT / (time.monotonic() - started)


def goodput(server: ByteServer, proxies: Sequence[Address], direction: Direction, seconds: float) -> float:
    """Mbit/s of one flow by each of these proxies, together, from their beginning."""
    with ExitStack() as stack:
        return rate_of([stack.enter_context(Flow(server, proxy, direction)) for proxy in proxies], seconds)
