"""Finds out which server names are ready: a real client gets an answer through them at once.

REALITY makes a client sleep five seconds that connects before Xray's probe of its (target, server name) has ended, once
for each process of Xray (`tls.go` of xtls/reality). Xray does not report the end of a probe. So a real client, another
Xray, connects through an inbound for each name until it gets an answer; only then do new keys get the name. A name
whose target does not work never becomes ready. Reasons: docs/adr/0004-warm-names.md.
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
    failing="the server names could not be tested",
    every_s=_TRY_AGAIN_AFTER_S,
    back_off_s=(_TRY_AGAIN_AFTER_S,),
    late_after_s=_TRY_AGAIN_AFTER_S + _TRY_FOR_S,
    expected=(OSError,),
)
_NOWHERE = ("warm.invalid", 80)
_REQUEST = b"GET / HTTP/1.1\r\nHost: warm.invalid\r\n\r\n"


@dataclass(slots=True)
class ServerNameProber:
    """Keeps the set of ready server names of the present Xray, in a thread of its own."""

    xray: Path
    environment: Mapping[str, str]
    site: Callable[[], ServerIdentity]
    probes: Probes
    _ready: frozenset[str] = field(default=frozenset(), init=False)
    _life: int = field(default=0, init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)
    _up: bool = field(default=False, init=False)
    _logged: tuple[str, ...] = field(default=(), init=False)
    _runner: Interruptible = field(default_factory=Interruptible, init=False)
    worker: Worker = field(init=False)

    def __post_init__(self) -> None:
        """Test nothing before the worker starts and Xray is up."""
        self.worker = Worker(_JOB, self._test_names, interrupt=self._interrupt)

    def tidy(self) -> None:
        """Remove files of an earlier server's clients. Call it before the first client starts."""
        remove_leftovers(Path(self.site().socket_dir))

    def xray_is_up(self) -> None:
        """Start testing: a new Xray answers, and its probes are running."""
        with self._changed:
            if self._up:
                return
            self._life += 1
            self._up = True
            self._changed.notify_all()
        self.worker.wake(at_once=True)

    def xray_is_down(self) -> None:
        """Empty the set of ready names: Xray ended, and its probes' results with it."""
        with self._changed:
            self._up = False
            self._ready = frozenset()
            self._changed.notify_all()

    def try_again(self) -> None:
        """Test the names that are not ready now, as after a target has become usable."""
        self.worker.wake(at_once=True)

    def ready(self, wait_s: float = 0.0) -> frozenset[str]:
        """Return the ready names; wait up to `wait_s` for the first one."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready, wait_s)
            return self._ready

    def _test_names(self) -> float | None:
        """Test the names that are not ready; return the seconds until the next test."""
        life, untested = self._life, self._untested()
        if not self._up or not untested:
            return NEVER
        try:
            self._runner.run(partial(self._test_all, untested, life))
        finally:
            self._log_untested_names(life)
        return _TRY_AGAIN_AFTER_S if self._untested() else NEVER

    def _interrupt(self) -> None:
        self.xray_is_down()  # for a test whose event loop does not run yet
        self._runner.interrupt()

    def _untested(self) -> tuple[Inbound, ...]:
        """Return the test inbounds whose names are not ready."""
        return tuple(inbound for inbound in warm_inbounds(self.site()) if _name(inbound) not in self._ready)

    async def _test_all(self, inbounds: tuple[Inbound, ...], life: int) -> None:
        """Test all names at once, until each is ready, Xray ends, or 12 seconds have passed."""
        async with _client(self.xray, self.environment, self.site().public_key, inbounds) as proxies:
            hasten = asyncio.create_task(self._end_probes(inbounds))
            tries = [self._test_name(inbound, proxy, life) for inbound, proxy in zip(inbounds, proxies, strict=True)]
            await asyncio.gather(*tries)
            hasten.cancel()

    async def _end_probes(self, inbounds: tuple[Inbound, ...]) -> None:
        """End Xray's probes as soon as they have recorded what they need."""
        names = [_name(inbound) for inbound in inbounds]
        began = time.monotonic()
        while (patience_s := self.probes.patience_s(names)) is None:  # noqa: ASYNC110 - reports come from another thread
            await asyncio.sleep(_TRY_EVERY_S)
        await asyncio.sleep(began + patience_s - time.monotonic())
        with suppress(XrayUnavailable):
            await asyncio.to_thread(self.probes.end, [name for name in names if name not in self._ready])

    async def _test_name(self, inbound: Inbound, proxy: Path, life: int) -> None:
        """Send requests through one inbound until one is answered, and mark its name as ready."""
        # Overlapping requests: one that came before the end of the probe sleeps five seconds, a later one does not.
        requests: set[asyncio.Task[bool]] = set()
        deadline = time.monotonic() + _TRY_FOR_S
        try:
            while time.monotonic() < deadline and self._life == life and self._up:
                requests.add(asyncio.create_task(_answers(proxy)))
                done, requests = await asyncio.wait(requests, timeout=_TRY_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
                if any(task.result() for task in done):
                    self._mark_ready(_name(inbound), life)
                    return
                if done:  # refused at once: do not send the next one without a pause
                    await asyncio.sleep(_TRY_EVERY_S)
        finally:
            for task in requests:
                task.cancel()
            await asyncio.gather(*requests, return_exceptions=True)

    def _mark_ready(self, name: str, life: int) -> None:
        with self._changed:
            if self._life == life and self._up:
                self._ready |= {name}
                self._changed.notify_all()

    def _log_untested_names(self, life: int) -> None:
        if self._life != life or not self._up:
            return
        before, self._logged = self._logged, tuple(sorted(map(_name, self._untested())))
        if self._logged and self._logged != before:
            _log.warning(
                "no client gets through %s: check that its target answers TLS 1.3 with h2 from this server; "
                "keys are made with the other names, and it is tested again in %.0f s",
                ", ".join(self._logged),
                _TRY_AGAIN_AFTER_S,
            )


def _name(inbound: Inbound) -> str:
    return inbound.reality.server_names[0]


@asynccontextmanager
async def _client(
    xray: Path, environment: Mapping[str, str], public_key: str, inbounds: tuple[Inbound, ...]
) -> AsyncIterator[list[Path]]:
    """Run a client of the test inbounds, and yield its proxies in the order of the inbounds."""
    # Relays, because these inbounds listen on Unix sockets and a VLESS client dials TCP only.
    async with AsyncExitStack() as stack:
        dials = [partial(asyncio.open_unix_connection, inbound.listen.partition(",")[0]) for inbound in inbounds]
        ports = [await stack.enter_async_context(relay(dial)) for dial in dials]
        ways = [way_into(inbound, port, public_key) for inbound, port in zip(inbounds, ports, strict=True)]
        directory = Path(inbounds[0].listen).parent
        yield await stack.enter_async_context(running_client(xray, environment, directory, ways))


async def _answers(proxy: Path) -> bool:
    """Return whether a request through the proxy is answered by the server's Xray."""
    writer = None
    try:
        reader, writer = await connect(proxy, *_NOWHERE)
        writer.write(_REQUEST)
        return bool(await reader.read(1))
    except (OSError, asyncio.IncompleteReadError):
        return False
    finally:
        if writer is not None:
            writer.close()
