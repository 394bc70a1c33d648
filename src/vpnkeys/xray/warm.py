"""Which server names are warm: a real client gets its first byte through them at once.

REALITY lets a client sleep five seconds when it comes before Xray's probe of its (target, server name) has ended, once
per Xray process. Here a real client, another Xray, goes through the warm inbounds again and again until each of them
has answered; only then is its name handed out. A target that does not work never gets warm, for the same reason.
"""

import asyncio
import logging
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.inbound import Inbound, Site, warm_inbounds
from vpnkeys.xray.probes import Probes
from vpnkeys.xray.process import spawn

_log = logging.getLogger(__name__)

_TRY_EVERY_S = 0.2
_TRY_FOR_S = 12.0
_TRY_AGAIN_AFTER_S = 30.0
_CLIENT_PREFIX = "client-"
_CONNECT = b"CONNECT warm.invalid:80 HTTP/1.1\r\nHost: warm.invalid:80\r\n\r\n"
_REQUEST = b"GET / HTTP/1.1\r\nHost: warm.invalid\r\n\r\n"


@dataclass(slots=True)
class Warmth:
    """The server names that are warm in the present Xray, kept up to date by a thread of its own."""

    xray: Path
    environment: Mapping[str, str]
    site: Callable[[], Site]
    probes: Probes
    _ready: frozenset[str] = field(default=frozenset(), init=False)
    _life: int = field(default=0, init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)
    _up: bool = field(default=False, init=False)
    _asked: bool = field(default=False, init=False)

    def start(self) -> None:
        """Begin; nothing happens before Xray is up."""
        for left in Path(self.site().socket_dir).glob(f"{_CLIENT_PREFIX}*"):  # by a life that was killed
            shutil.rmtree(left, ignore_errors=True)
        threading.Thread(target=self._run, name="xray-warmer", daemon=True).start()

    def xray_is_up(self) -> None:
        """An Xray answers. If it is a new one, its probes are running now."""
        with self._changed:
            if self._up:
                return
            self._life += 1
            self._up = True
            self._changed.notify_all()

    def xray_is_down(self) -> None:
        """The present Xray ended, and what it had probed is lost."""
        with self._changed:
            self._up = False
            self._ready = frozenset()
            self._changed.notify_all()

    def try_again(self) -> None:
        """Something has changed for the better: do not wait before trying the cold names again."""
        with self._changed:
            self._asked = True
            self._changed.notify_all()

    def ready(self, wait_s: float = 0.0) -> frozenset[str]:
        """The warm names; waits up to `wait_s` for the first one."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready, wait_s)
            return self._ready

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._up and bool(self._cold()))
                life = self._life
            try:
                asyncio.run(self._try_all(self._cold(), life))
            except OSError as error:
                _log.warning("could not try the server names: %s", error)
            self._say_what_is_cold(life)
            with self._changed:
                self._changed.wait_for(lambda life=life: self._life != life or self._asked, _TRY_AGAIN_AFTER_S)  # type: ignore[misc]
                self._asked = False

    def _cold(self) -> tuple[Inbound, ...]:
        """The warm inbounds whose names are not warm yet."""
        return tuple(inbound for inbound in warm_inbounds(self.site()) if _name(inbound) not in self._ready)

    async def _try_all(self, inbounds: tuple[Inbound, ...], life: int) -> None:
        """Try each name until it is warm, this life of Xray ends, or it has taken too long."""
        async with _client(self.xray, self.environment, self.site().public_key, inbounds) as doors:
            hasten = asyncio.create_task(self._end_probes(inbounds))
            tries = [self._try(inbound, door, life) for inbound, door in zip(inbounds, doors, strict=True)]
            await asyncio.gather(*tries)
            hasten.cancel()

    async def _end_probes(self, inbounds: tuple[Inbound, ...]) -> None:
        """End the probes when they have seen enough, instead of waiting for them."""
        names = [_name(inbound) for inbound in inbounds]
        began = time.monotonic()
        while (patience_s := self.probes.patience_s(names)) is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(_TRY_EVERY_S)
        await asyncio.sleep(began + patience_s - time.monotonic())
        with suppress(XrayUnavailable):
            await asyncio.to_thread(self.probes.end, [name for name in names if name not in self._ready])

    async def _try(self, inbound: Inbound, door: Path, life: int) -> None:
        """Send a request again and again; whichever gets an answer first shows that the name is warm.

        Not one after the other: a request that comes too early sleeps five seconds, a later one need not.
        """
        requests: set[asyncio.Task[bool]] = set()
        deadline = time.monotonic() + _TRY_FOR_S
        try:
            while time.monotonic() < deadline and self._life == life and self._up:
                requests.add(asyncio.create_task(_answers(door)))
                done, requests = await asyncio.wait(requests, timeout=_TRY_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
                if any(task.result() for task in done):
                    self._is_warm(_name(inbound), life)
                    return
                if done:
                    await asyncio.sleep(_TRY_EVERY_S)
        finally:
            for task in requests:
                task.cancel()
            await asyncio.gather(*requests, return_exceptions=True)

    def _is_warm(self, name: str, life: int) -> None:
        with self._changed:
            if self._life == life and self._up:
                self._ready |= {name}
                self._changed.notify_all()

    def _say_what_is_cold(self, life: int) -> None:
        cold = sorted(map(_name, self._cold()))
        if cold and self._life == life and self._up:
            _log.warning(
                "no client gets through %s: check that its target answers TLS 1.3 with h2 from this server; "
                "keys are made with the other names, and it is tried again in %.0f s",
                ", ".join(cold),
                _TRY_AGAIN_AFTER_S,
            )


def _name(inbound: Inbound) -> str:
    return inbound.reality.server_names[0]


@asynccontextmanager
async def _client(
    xray: Path, environment: Mapping[str, str], public_key: str, inbounds: tuple[Inbound, ...]
) -> AsyncIterator[list[Path]]:
    """A real client of the warm inbounds: an HTTP proxy on a Unix socket for each.

    VLESS clients dial TCP only, so that a relay stands between the client and the inbounds' Unix sockets.
    """
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(_relay(inbound.listen.partition(",")[0])) for inbound in inbounds]
        room = tempfile.TemporaryDirectory(prefix=_CLIENT_PREFIX, dir=_socket_dir(inbounds))
        directory = Path(stack.enter_context(room))
        doors = [directory / f"{index}.sock" for index in range(len(inbounds))]
        config = directory / "client.json"
        config.write_bytes(orjson.dumps(_client_config(inbounds, ports, doors, public_key)))
        child = spawn(xray, config, environment)
        stack.callback(_end, child)
        while not all(door.exists() for door in doors) and child.poll() is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        yield doors


def _end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()


@asynccontextmanager
async def _relay(path: str) -> AsyncIterator[int]:
    """A TCP port on loopback that leads to a Unix socket."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled at the end of the warming; asyncio would log that as an error of this handler.
        with suppress(OSError, asyncio.CancelledError):
            there_reader, there_writer = await asyncio.open_unix_connection(path)
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def _answers(door: Path) -> bool:
    """Whether a request through the proxy gets a byte back from beyond it."""
    writer = None
    try:
        reader, writer = await asyncio.open_unix_connection(door)
        writer.write(_CONNECT)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_REQUEST)
        return bool(await reader.read(1))
    except (OSError, asyncio.IncompleteReadError):
        return False
    finally:
        if writer is not None:
            writer.close()


def _client_config(
    inbounds: tuple[Inbound, ...], ports: list[int], doors: list[Path], public_key: str
) -> dict[str, object]:
    """Xray as a client: from each door through VLESS and REALITY to the relay of its inbound."""
    return {
        "log": {"loglevel": "none", "access": "none"},
        "inbounds": [
            {"tag": f"door-{i}", "listen": f"{door},0600", "protocol": "http"} for i, door in enumerate(doors)
        ],
        "outbounds": [_outbound(i, inbound, ports[i], public_key) for i, inbound in enumerate(inbounds)],
        "routing": {"rules": [{"inboundTag": [f"door-{i}"], "outboundTag": f"warm-{i}"} for i in range(len(inbounds))]},
    }


def _outbound(index: int, inbound: Inbound, port: int, public_key: str) -> dict[str, object]:
    (client,) = inbound.clients
    return {
        "tag": f"warm-{index}",
        "protocol": "vless",
        "settings": {
            "vnext": [
                {"address": "127.0.0.1", "port": port, "users": [{"id": client.uuid, "encryption": "none"}]},
            ]
        },
        "streamSettings": {
            "network": "raw",
            "security": "reality",
            "realitySettings": {
                "fingerprint": "chrome",
                "serverName": _name(inbound),
                "password": public_key,
                "shortId": inbound.reality.short_ids[0],
            },
        },
    }


def _socket_dir(inbounds: tuple[Inbound, ...]) -> Path:
    return Path(inbounds[0].listen).parent
