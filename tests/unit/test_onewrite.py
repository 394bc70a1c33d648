"""An answer leaves in one piece where it can, in order and whole where it cannot."""

import asyncio
from collections.abc import Callable

import pytest

from vpnkeys.server.onewrite import OneWrite

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Wire(asyncio.Transport):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take a piece."""
        self.told.append(bytes(data))

    def close(self) -> None:
        """End in order."""
        self.told.append("close")

    def abort(self) -> None:
        """End at once."""
        self.told.append("abort")


def whole(transport: OneWrite) -> None:
    """A head and its body."""
    transport.write(HEAD)
    transport.write(b"body")


def twice(transport: OneWrite) -> None:
    """Two answers, the second without a body."""
    whole(transport)
    transport.write(HEAD)


def in_parts(transport: OneWrite) -> None:
    """A body of several parts."""
    whole(transport)
    transport.write(b"more")


def ended(transport: OneWrite) -> None:
    """A head alone, then the end."""
    transport.write(HEAD)
    transport.close()


def given_up(transport: OneWrite) -> None:
    """A head that is not wanted any more."""
    transport.write(HEAD)
    transport.abort()


def continued(transport: OneWrite) -> None:
    """An interim answer, and the answer."""
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    whole(transport)


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (whole, [HEAD + b"body"]),
        (twice, [HEAD + b"body", HEAD]),
        (in_parts, [HEAD + b"body", b"more"]),
        (ended, [HEAD, "close"]),
        (given_up, ["abort"]),
        (continued, [b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD, b"body"]),
    ],
)
def test_pieces(act: Callable[[OneWrite], None], told: list[bytes | str]) -> None:
    """Nothing is lost, doubled or late."""

    async def run() -> list[bytes | str]:
        wire = Wire()
        act(OneWrite(wire, asyncio.get_running_loop()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return wire.told

    assert asyncio.run(run()) == told
