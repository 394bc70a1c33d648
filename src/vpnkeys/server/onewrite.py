"""The head of an answer and the beginning of its body leave in one piece: one TLS record, one packet."""

import asyncio


class OneWrite(asyncio.Transport):
    """A connection's transport as uvicorn sees it, which writes an answer's head and body one after the other.

    A head is held back until the body comes, but never longer than until the event loop turns: then it leaves alone.
    Encrypting and sending twice is most of what a small answer costs (docs/adr/0014-speed.md).
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._held: bytes = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or hold back what is a head."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        elif data[:5] == b"HTTP/":
            self._held = bytes(data)
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Send what is held back, then end the connection in order."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._held = b""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it is ending or has ended."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)
