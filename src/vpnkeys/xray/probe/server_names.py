"""Which server names are warm: a real client gets its first byte through them at once.

REALITY lets a client sleep five seconds when it comes before Xray's probe of its (target, server name) has ended, once
per Xray process. Here a real client, another Xray, goes through the warm inbounds again and again until each of them
has answered; only then is its name handed out. A target that does not work never gets warm, for the same reason.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.inbound import Inbound, ServerIdentity, warm_inbounds
from vpnkeys.worker import NEVER, Interruptible, Job, Worker
from vpnkeys.xray.probe.client import connect, relay, remove_leftovers, running_client, way_into
from vpnkeys.xray.probe.kernel import Probes

_log = logging.getLogger(__name__)

_TRY_EVERY_S = 0.2
_TRY_FOR_S = 12.0
_TRY_AGAIN_AFTER_S = 30.0
_JOB = Job(
    name="server-names",
    failing="the server names could not be tried",
    every_s=_TRY_AGAIN_AFTER_S,
    back_off_s=(_TRY_AGAIN_AFTER_S,),
    late_after_s=_TRY_AGAIN_AFTER_S + _TRY_FOR_S,
    expected=(OSError,),
)
_NOWHERE = ("warm.invalid", 80)
_REQUEST = b"GET / HTTP/1.1\r\nHost: warm.invalid\r\n\r\n"


@dataclass(slots=True)
class ServerNameProber:
    """The server names that are warm in the present Xray, kept up to date by a thread of its own."""

    xray: Path
    environment: Mapping[str, str]
    site: Callable[[], ServerIdentity]
    probes: Probes
    _ready: frozenset[str] = field(default=frozenset(), init=False)
    _life: int = field(default=0, init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)
    _up: bool = field(default=False, init=False)
    _told: tuple[str, ...] = field(default=(), init=False)
    _tries: Interruptible = field(default_factory=Interruptible, init=False)
    worker: Worker = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is tried before the worker starts and Xray is up."""
        self.worker = Worker(_JOB, self._try_cold_names, interrupt=self._break_off)

    def tidy(self) -> None:
        """Remove what an earlier server's clients left; before the first client is started."""
        remove_leftovers(Path(self.site().socket_dir))

    def xray_is_up(self) -> None:
        """An Xray answers. If it is a new one, its probes are running now."""
        with self._changed:
            if self._up:
                return
            self._life += 1
            self._up = True
            self._changed.notify_all()
        self.worker.wake(at_once=True)

    def xray_is_down(self) -> None:
        """The present Xray ended, and what it had probed is lost."""
        with self._changed:
            self._up = False
            self._ready = frozenset()
            self._changed.notify_all()

    def try_again(self) -> None:
        """Something has changed for the better: do not wait before trying the cold names again."""
        self.worker.wake(at_once=True)

    def ready(self, wait_s: float = 0.0) -> frozenset[str]:
        """The warm names; waits up to `wait_s` for the first one."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready, wait_s)
            return self._ready

    def _try_cold_names(self) -> float | None:
        """Try the names that are not ready; return how long until those that are left are tried again."""
        life, cold = self._life, self._cold()
        if not self._up or not cold:
            return NEVER
        try:
            self._tries.run(partial(self._try_all, cold, life))
        finally:
            self._say_what_is_cold(life)
        return _TRY_AGAIN_AFTER_S if self._cold() else NEVER

    def _break_off(self) -> None:
        self.xray_is_down()  # for tries that have not quite begun
        self._tries.interrupt()

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
        if self._life != life or not self._up:
            return
        before, self._told = self._told, tuple(sorted(map(_name, self._cold())))
        if self._told and self._told != before:
            _log.warning(
                "no client gets through %s: check that its target answers TLS 1.3 with h2 from this server; "
                "keys are made with the other names, and it is tried again in %.0f s",
                ", ".join(self._told),
                _TRY_AGAIN_AFTER_S,
            )


def _name(inbound: Inbound) -> str:
    return inbound.reality.server_names[0]


@asynccontextmanager
async def _client(
    xray: Path, environment: Mapping[str, str], public_key: str, inbounds: tuple[Inbound, ...]
) -> AsyncIterator[list[Path]]:
    """A real client of the warm inbounds, whose Unix sockets it reaches by relays."""
    async with AsyncExitStack() as stack:
        dials = [partial(asyncio.open_unix_connection, inbound.listen.partition(",")[0]) for inbound in inbounds]
        ports = [await stack.enter_async_context(relay(dial)) for dial in dials]
        ways = [way_into(inbound, port, public_key) for inbound, port in zip(inbounds, ports, strict=True)]
        directory = Path(inbounds[0].listen).parent
        yield await stack.enter_async_context(running_client(xray, environment, directory, ways))


async def _answers(door: Path) -> bool:
    """Whether a request through the proxy gets a byte back from beyond it."""
    writer = None
    try:
        reader, writer = await connect(door, *_NOWHERE)
        writer.write(_REQUEST)
        return bool(await reader.read(1))
    except (OSError, asyncio.IncompleteReadError):
        return False
    finally:
        if writer is not None:
            writer.close()
