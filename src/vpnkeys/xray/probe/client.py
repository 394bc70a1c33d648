"""A real client of our own inbounds: another Xray, for as long as somebody asks something through it.

Its ways in are HTTP proxies on Unix sockets in a directory of its own, so that nobody else gets in by them. It dies
with the thread that started it, however that ends; what a killed server left behind goes with `remove_leftovers`.
"""

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import orjson

from vpnkeys.domain.inbound import Inbound
from vpnkeys.xray.process.child import spawn

_PREFIX = "client-"
_CHUNK_BYTES = 65536
_START_S = 8.0

Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial: TypeAlias = Callable[[], Awaitable[Stream]]


class ClientFailed(OSError):
    """The client ended, or let nobody in."""


@dataclass(frozen=True, slots=True)
class Way:
    """What a customer's link says, with a port on loopback for its host: VLESS clients dial TCP only."""

    port: int
    uuid: str
    flow: str
    server_name: str
    public_key: str
    short_id: str


def way_into(inbound: Inbound, port: int, public_key: str) -> Way:
    """The way into an inbound of one client, by a port that leads there."""
    (client,) = inbound.clients
    (server_name,) = inbound.reality.server_names
    return Way(port, client.uuid, client.flow, server_name, public_key, inbound.reality.short_ids[0])


@dataclass(slots=True)
class ConnectionTrace:
    """What a relay saw of the last connection that it carried. Moments are those of `time.monotonic`."""

    began: float = 0.0
    answered: float | None = None
    shaken: float | None = None
    unreachable: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def handshake_s(self) -> float | None:
        """From its beginning to the client's word after the server's first: a TLS 1.3 handshake (RFC 8446, 2)."""
        return None if self.shaken is None else self.shaken - self.began

    def begin(self) -> None:
        """A connection came."""
        self.began, self.answered, self.shaken = time.monotonic(), None, None

    def sent(self) -> None:
        """Bytes of the client."""
        if self.answered is not None and self.shaken is None:
            self.shaken = time.monotonic()

    def received(self) -> None:
        """Bytes of the server."""
        if self.answered is None:
            self.answered = time.monotonic()


@asynccontextmanager
async def running_client(
    xray: Path, environment: Mapping[str, str], directory: Path, ways: Sequence[Way]
) -> AsyncIterator[list[Path]]:
    """A real client: a Unix socket for each way, behind which an HTTP proxy listens.

    Raises OSError; ClientFailed when the program could be started and is no client.
    """
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=directory) as room:
        doors = [Path(room) / f"{index}.sock" for index in range(len(ways))]
        config = Path(room) / "client.json"
        config.write_bytes(orjson.dumps(_config(ways, doors)))
        child = spawn(xray, config, environment)
        try:
            await _wait_open(doors, child)
            yield doors
        finally:
            _end(child)


def remove_leftovers(directory: Path) -> None:
    """Remove what the clients of a life that was killed have left; only while there is no client."""
    for left in directory.glob(f"{_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


@asynccontextmanager
async def relay(dial: Dial, passage: ConnectionTrace | None = None) -> AsyncIterator[int]:
    """A TCP port on loopback that leads to wherever `dial` does."""
    seen = passage or ConnectionTrace()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.begin()
        # Cancelled at the end; asyncio would log that as an error of this handler.
        with suppress(OSError, asyncio.CancelledError):
            try:
                there_reader, there_writer = await dial()
            except OSError:
                seen.unreachable.set()
                writer.close()
                return
            await asyncio.gather(_pump(reader, there_writer, seen.sent), _pump(there_reader, writer, seen.received))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def connect(door: Path, host: str, port: int) -> Stream:
    """A connection by the proxy behind a door. The proxy says yes before anything is known of the way beyond it.

    Raises OSError, asyncio.IncompleteReadError.
    """
    reader, writer = await asyncio.open_unix_connection(door)
    try:
        name = f"[{host}]" if ":" in host else host
        writer.write(f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n".encode("ascii"))
        await reader.readuntil(b"\r\n\r\n")
    except BaseException:
        writer.close()
        raise
    return reader, writer


async def _wait_open(doors: Sequence[Path], child: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _START_S
    for door in doors:
        while not await _is_open(door):
            if child.poll() is not None:
                raise ClientFailed("it ended as soon as it was started")
            if time.monotonic() > deadline:
                raise ClientFailed(f"it did not get ready within {_START_S:.0f} s")
            await asyncio.sleep(0.01)


async def _is_open(door: Path) -> bool:
    """Whether it lets in: its file is there a moment before it does (bind and listen are two calls)."""
    try:
        _, writer = await asyncio.open_unix_connection(door)
    except OSError:
        return False
    writer.close()
    return True


def _end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[], None]) -> None:
    try:
        while data := await reader.read(_CHUNK_BYTES):
            note()
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


def _config(ways: Sequence[Way], doors: Sequence[Path]) -> dict[str, object]:
    """Xray as a client: from each door through VLESS and REALITY to the port of its way."""
    return {
        "log": {"loglevel": "none", "access": "none"},
        "inbounds": [
            {"tag": f"door-{i}", "listen": f"{door},0600", "protocol": "http"} for i, door in enumerate(doors)
        ],
        "outbounds": [_outbound(f"way-{i}", way) for i, way in enumerate(ways)],
        "routing": {"rules": [{"inboundTag": [f"door-{i}"], "outboundTag": f"way-{i}"} for i in range(len(ways))]},
    }


def _outbound(tag: str, way: Way) -> dict[str, object]:
    user = {"id": way.uuid, "encryption": "none", "flow": way.flow}
    return {
        "tag": tag,
        "protocol": "vless",
        "settings": {"vnext": [{"address": "127.0.0.1", "port": way.port, "users": [user]}]},
        "streamSettings": {
            "network": "raw",
            "security": "reality",
            "realitySettings": {
                "fingerprint": "chrome",
                "serverName": way.server_name,
                "password": way.public_key,
                "shortId": way.short_id,
            },
        },
    }
