"""One connection that carries known bytes all the time: whether any was lost shows at once."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from tests.support.socks import Address
from tests.support.streams import ByteServer, TransferError, transfer

_PIECE_BYTES = 100_000


class PieceStream:
    """Known bytes up and down over one connection, piece after piece, until the end; each piece is checked."""

    def __init__(self, proxy: Address, server: ByteServer) -> None:
        """Connect; entering the context starts it."""
        self._sock = server.open(proxy, timeout=60.0)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.arrived_bytes = 0
        self.broken: str | None = None

    def _work(self) -> None:
        seed = 0
        while not self._ending.wait(0.01):
            seed += 1
            try:
                moved = transfer(self._sock, _PIECE_BYTES, _PIECE_BYTES, seed)
            except (OSError, TransferError, ValueError) as error:
                self.broken = f"{type(error).__name__}: {error}"
                return
            self.arrived_bytes += moved.up_bytes + moved.down_bytes

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the piece under way, and the connection."""
        self._ending.set()
        self._thread.join()
        self._sock.close()
