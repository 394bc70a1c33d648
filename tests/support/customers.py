"""Customers who must not notice what is done to the API: one who talks and one who downloads, all the while."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.clients import XrayClient
from tests.support.keys import Key, link_of
from tests.support.service import Service
from tests.support.streams import ByteServer, Echo, PingPong, TransferError, transfer

_PIECE_BYTES = 500_000
_RATE_BYTES_S = 2_000_000.0


class Download:
    """Known bytes, one piece after the other over one connection, each checked by its hash."""

    def __init__(self, sock: socket.socket) -> None:
        """Start."""
        self.pieces = 0
        self.broken: str | None = None
        self._sock = sock
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                transfer(self._sock, 1_000, _PIECE_BYTES, seed=self.pieces, rate=_RATE_BYTES_S)
            except (OSError, TransferError) as error:
                self.broken = f"{type(error).__name__}: {error}"
                return
            self.pieces += 1

    def stop(self) -> None:
        """Finish the piece under way."""
        self._ending.set()
        self._thread.join(30.0)


@contextmanager
def undisturbed(
    service: Service, key: Key, echo: Echo, byte_server: ByteServer, longest_stall_s: float
) -> Iterator[None]:
    """Asserts at the end that no byte of theirs was lost and no message took longer than that."""
    with (
        XrayClient(link_of(service, key)) as client,
        echo.open(client.socks) as talking,
        byte_server.open(client.socks) as loading,
        PingPong(talking) as pings,
    ):
        download = Download(loading)
        try:
            yield
        finally:
            download.stop()
        assert (pings.broken, download.broken) == (None, None)
        assert download.pieces > 0
        assert pings.round_trips_s
        assert pings.stall_s <= longest_stall_s
