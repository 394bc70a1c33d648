"""Stands between agents and their control plane, and loses answers to requests that have arrived.

It reads nothing of TLS but how much there is: after the handshake a client that sends more than that takes is asking.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self

_HANDSHAKE_BYTES = 200
"""More than a client sends between the server's first flight and its first request."""


class Losing:
    """Carries connections; while `is_losing`, what is asked arrives, its answer does not, and the connection ends."""

    def __init__(self, host: str, port: int) -> None:
        """Listen, in the network of the calling thread."""
        self._beyond = (host, port)
        self._listener = socket.create_server((host, 0))
        self.port = int(self._listener.getsockname()[1])
        self.is_losing = False
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with near, suppress(OSError), socket.create_connection(self._beyond) as far:
            asked = [0, 0]  # bytes before and since the server's first flight
            back = threading.Thread(target=self._carry_back, args=(far, near, asked), daemon=True)
            back.start()
            while data := near.recv(65536):
                asked[1] += len(data)
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)
            back.join()

    def _carry_back(self, far: socket.socket, near: socket.socket, asked: list[int]) -> None:
        is_first = True
        with suppress(OSError):
            while data := far.recv(65536):
                if self.is_losing and not is_first and asked[1] > _HANDSHAKE_BYTES:
                    self.lost += 1
                    break
                near.sendall(data)
                if is_first:
                    asked[1], is_first = 0, False
        for sock in (near, far):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        """Carry until the end of the context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
