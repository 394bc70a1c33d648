"""Runs another Xray as a client of our own inbounds, to test them as customers' programs would.

It offers an HTTP proxy on a Unix socket for each inbound, in a directory of its own that only this user can enter. The
kernel kills it when the thread that started it ends; `remove_leftovers` removes the files of a killed server.
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
from vpnkeys.domain.reality import Fingerprint
from vpnkeys.xray.process.child import spawn

_PREFIX = "client-"
_CHUNK_BYTES = 65536
_START_S = 8.0

Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial: TypeAlias = Callable[[], Awaitable[Stream]]


class ClientFailed(OSError):
    """Raised when the client cannot be started, ends, or does not open its proxies in time."""


@dataclass(frozen=True, slots=True)
class Way:
    """The parameters of a customer's link, with a port on loopback as its address: a VLESS client dials TCP only."""

    port: int
    uuid: str
    flow: str
    server_name: str
    public_key: str
    short_id: str
    fingerprint: Fingerprint = Fingerprint.CHROME


def way_into(inbound: Inbound, port: int, public_key: str) -> Way:
    """Return the link parameters of an inbound with one client, reached by a loopback port."""
    (client,) = inbound.clients
    (server_name,) = inbound.reality.server_names
    return Way(port, client.uuid, client.flow, server_name, public_key, inbound.reality.short_ids[0])


@dataclass(slots=True)
class ConnectionTrace:
    """What a relay saw of its latest connection; times are of `time.monotonic`.

    `began`: it was accepted. `answered`: first bytes of the server. `shaken`: first bytes of the client after those.
    """

    began: float = 0.0
    answered: float | None = None
    shaken: float | None = None
    unreachable: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def handshake_s(self) -> float | None:
        """Return the duration of the TLS 1.3 handshake (RFC 8446, 2), in seconds; None until it is complete."""
        # Its last message, the client's Finished, is the first that the client sends after the server's flight.
        return None if self.shaken is None else self.shaken - self.began

    def begin(self) -> None:
        """Record that a connection was accepted."""
        self.began, self.answered, self.shaken = time.monotonic(), None, None

    def sent(self) -> None:
        """Record that the client sent bytes."""
        if self.answered is not None and self.shaken is None:
            self.shaken = time.monotonic()

    def received(self) -> None:
        """Record that the server sent bytes."""
        if self.answered is None:
            self.answered = time.monotonic()


@asynccontextmanager
async def running_client(
    xray: Path, environment: Mapping[str, str], directory: Path, ways: Sequence[Way], purpose: str
) -> AsyncIterator[list[Path]]:
    """Run a client and yield the Unix socket of an HTTP proxy for each of `ways`; it is killed after the block.

    Its files are in a directory in `directory`, with `purpose` in its name. Raises OSError when it cannot be started,
    ClientFailed when it ends or opens no proxies.
    """
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{purpose}-", dir=directory) as room:
        proxies = [Path(room) / f"{index}.sock" for index in range(len(ways))]
        config = Path(room) / "client.json"
        config.write_bytes(orjson.dumps(_config(ways, proxies)))
        child = spawn(xray, config, environment)
        try:
            await _wait_open(proxies, child)
            yield proxies
        finally:
            _end(child)


def remove_leftovers(directory: Path) -> None:
    """Remove the directories of clients of a killed server. Call it while no client runs."""
    for left in directory.glob(f"{_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


@asynccontextmanager
async def relay(dial: Dial, trace: ConnectionTrace | None = None) -> AsyncIterator[int]:
    """Yield a TCP port on loopback whose connections are forwarded to where `dial` connects."""
    seen = trace or ConnectionTrace()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.begin()
        # It is cancelled at the end, which asyncio would log as an error of this handler.
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


async def connect(proxy: Path, host: str, port: int) -> Stream:
    """Return a connection to a host through the HTTP proxy on a Unix socket.

    Raises OSError, asyncio.IncompleteReadError.
    """
    # Xray's proxy answers CONNECT before it has connected: success here says nothing about the host.
    reader, writer = await asyncio.open_unix_connection(proxy)
    try:
        name = f"[{host}]" if ":" in host else host
        writer.write(f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n".encode("ascii"))
        await reader.readuntil(b"\r\n\r\n")
    except BaseException:
        writer.close()
        raise
    return reader, writer


async def _wait_open(proxies: Sequence[Path], child: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _START_S
    for proxy in proxies:
        while not await _is_open(proxy):
            if child.poll() is not None:
                raise ClientFailed("it ended right after its start")
            if time.monotonic() > deadline:
                raise ClientFailed(f"it did not get ready within {_START_S:.0f} s")
            await asyncio.sleep(0.01)


async def _is_open(proxy: Path) -> bool:
    """Return whether the proxy accepts connections."""
    # Its file proves nothing: bind() makes the file, and listen() comes after it.
    try:
        _, writer = await asyncio.open_unix_connection(proxy)
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


def _config(ways: Sequence[Way], proxies: Sequence[Path]) -> dict[str, object]:
    """Return the configuration of a client: one proxy for each way, led to its port through VLESS and REALITY."""
    return {
        "log": {"loglevel": "none", "access": "none"},
        "inbounds": [
            {"tag": f"proxy-{i}", "listen": f"{proxy},0600", "protocol": "http"} for i, proxy in enumerate(proxies)
        ],
        "outbounds": [_outbound(f"way-{i}", way) for i, way in enumerate(ways)],
        "routing": {"rules": [{"inboundTag": [f"proxy-{i}"], "outboundTag": f"way-{i}"} for i in range(len(ways))]},
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
                "fingerprint": way.fingerprint.value,
                "serverName": way.server_name,
                "password": way.public_key,  # the newer name of `publicKey` in Xray-core
                "shortId": way.short_id,
            },
        },
    }
