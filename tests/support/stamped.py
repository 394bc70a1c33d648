"""A stream to an Echo whose every message says when it was sent: what came after a moment can be told exactly."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

_MESSAGE = struct.Struct(">d")
_INTERVAL_S = 0.002


class Arrival(NamedTuple):
    """One message that came back, both times in seconds of time.monotonic()."""

    sent_at: float
    arrived_at: float


class StampedStream:
    """Sends a time stamp every two milliseconds, whether or not the earlier ones have come back."""

    def __init__(self, sock: socket.socket) -> None:
        """Prepare; entering the context starts both threads."""
        self.sock = sock
        self.arrivals: list[Arrival] = []
        self.ended_at: float | None = None
        """When the other side ended the connection."""
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._send, self._receive)]

    def _send(self) -> None:
        try:
            while not self._ending.wait(_INTERVAL_S):
                self.sock.sendall(_MESSAGE.pack(time.monotonic()))
        except OSError:
            return  # the receiver sees it too

    def _receive(self) -> None:
        held = b""
        while True:
            try:
                data = self.sock.recv(65536)
            except OSError:
                data = b""
            now = time.monotonic()
            if not data:
                self.ended_at = now
                return
            held += data
            whole = len(held) - len(held) % _MESSAGE.size
            self.arrivals += [Arrival(sent_at, now) for (sent_at,) in _MESSAGE.iter_unpack(held[:whole])]
            held = held[whole:]

    def wait_ended(self, timeout: float) -> bool:
        """Whether the other side ends the connection within the time."""
        self._threads[1].join(timeout)
        return self.ended_at is not None

    def __enter__(self) -> Self:
        """Start sending."""
        self.sock.settimeout(None)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop both threads and close the connection."""
        self._ending.set()
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)  # wakes a receiver that waits
        for thread in self._threads:
            thread.join()
        self.sock.close()
