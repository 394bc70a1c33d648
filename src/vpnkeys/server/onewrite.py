"""Joins the head of an answer and the start of its body into one write: one TLS record, one packet."""

import asyncio


class OneWrite(asyncio.Transport):
    """A transport for uvicorn, which writes the head and the body of an answer in two calls.

    A head is held back until the body's write, or until the next turn of the event loop, and then sent alone.
    Encrypting and sending twice is most of what a small answer costs (docs/adr/0014-speed.md).
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._held: bytes = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send the bytes; hold them back when they are the head of an answer."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        elif data[:5] == b"HTTP/":
            # A body that begins so is sent a turn later, and unchanged.
            self._held = bytes(data)
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Send a head that is held back, then close the connection after its buffer is sent."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once, without sending its buffer."""
        self._held = b""
        self._transport.abort()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent."""
        return len(self._held) + self._transport.get_write_buffer_size()

    def is_closing(self) -> bool:
        """Return whether the connection is closing or closed."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)
