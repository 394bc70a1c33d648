"""Finds out which server names are ready: a real client gets an answer through them.

Another Xray, as a client, connects through an inbound for each name. It does so after each start of Xray, where REALITY
makes a client sleep five seconds that connects before Xray's own probe of the target has ended (`tls.go` of
xtls/reality; Xray does not report the end), and every half minute from then on: a target may change what it sends, and
nothing but a client shows that Xray cannot use it. New keys get a name only while its latest test succeeded. Reasons:
docs/adr/0004-warm-names.md and docs/adr/0017-names-that-die.md.
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
from vpnkeys.xray.probe.client import ClientFailed, connect, relay, remove_leftovers, running_client, way_into
from vpnkeys.xray.probe.kernel import Probes

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.2
_TEST_EVERY_S = 30.0
_CONFIRM_AFTER_S = 5.0  # a name that has just failed may have met a short fault


@dataclass(frozen=True, slots=True)
class _Patience:
    """How a name is tested: a request every `every_s` until one is answered, for `for_s` at most."""

    every_s: float
    for_s: float


# A request that comes before the end of Xray's own probe sleeps five seconds, and a later one does not.
_FIRST = _Patience(every_s=0.2, for_s=12.0)
_AGAIN = _Patience(every_s=1.0, for_s=5.0)

_JOB = Job(
    name="server-names",
    failing="the server names could not be tested",
    every_s=_TEST_EVERY_S,
    back_off_s=(_TEST_EVERY_S,),
    late_after_s=_TEST_EVERY_S + _FIRST.for_s,
    expected=(OSError,),
)
_NOWHERE = ("warm.invalid", 80)
_REQUEST = b"GET / HTTP/1.1\r\nHost: warm.invalid\r\n\r\n"


@dataclass(slots=True)
class ServerNameProber:
    """Keeps the sets of ready and of failing server names of the present Xray, in a thread of its own.

    A name that is in neither is about to be tested. The sets are replaced as a whole, so that any thread may read them.
    """

    xray: Path
    environment: Mapping[str, str]
    site: Callable[[], ServerIdentity]
    probes: Probes
    on_ready: Callable[[], None] = field(default=lambda: None, init=False)
    """Called when a name has become ready, in any thread."""
    _names: frozenset[str] = field(default=frozenset(), init=False)
    ready: frozenset[str] = field(default=frozenset(), init=False)
    failing: frozenset[str] = field(default=frozenset(), init=False)
    _tested: frozenset[str] = field(default=frozenset(), init=False)
    _life: int = field(default=0, init=False)
    _doubts: dict[str, int] = field(default_factory=dict, init=False)
    """How often each name was suspected: a test that began before the last time says nothing."""
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)
    _up: bool = field(default=False, init=False)
    _up_at: float = field(default=0.0, init=False)
    _logged: frozenset[str] = field(default=frozenset(), init=False)
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
            self._up, self._up_at = True, time.monotonic()
            self._changed.notify_all()
        self.worker.wake(at_once=True)

    def xray_is_down(self) -> None:
        """Forget all results: Xray ended, and its probes' results with it."""
        with self._changed:
            self._up = False
            self.ready = self.failing = self._tested = frozenset()
            self._changed.notify_all()

    def try_again(self) -> None:
        """Test the names now, as after a target has become usable."""
        self.worker.wake(at_once=True)

    def suspect(self, name: str) -> None:
        """Take a name back until a client has got through it again, which is tried at once."""
        with self._changed:
            self._doubts[name] = self._doubts.get(name, 0) + 1
            self.ready -= {name}
            self.failing -= {name}
        self.try_again()

    def wait_ready(self, wait_s: float) -> frozenset[str]:
        """Return the ready names; wait up to `wait_s` for the first one while some are still to be tested."""
        with self._changed:
            self._changed.wait_for(lambda: self.ready or self._have_all_failed(), wait_s)
            return self.ready

    def _have_all_failed(self) -> bool:
        return self.failing == self._tested == self._names != frozenset()

    def _test_names(self) -> float | None:
        """Test all names; return the seconds until the next test."""
        life, failing = self._life, self.failing
        if not self._up:
            return NEVER
        inbounds = warm_inbounds(self.site())
        self._names = frozenset(map(_name, inbounds))
        self._runner.run(partial(self._test_all, inbounds, life))
        self._log_failing_names(life)
        return _CONFIRM_AFTER_S if self.failing - failing else None

    def _interrupt(self) -> None:
        self.xray_is_down()  # for a test whose event loop does not run yet
        self._runner.interrupt()

    async def _test_all(self, inbounds: tuple[Inbound, ...], life: int) -> None:
        """Test all names at once, until each test has a result or Xray ends."""
        async with _client(self.xray, self.environment, self.site().public_key, inbounds) as proxies:
            hasten = asyncio.create_task(self._end_probes([_name(inbound) for inbound in inbounds]))
            tests = zip(inbounds, proxies, strict=True)
            await asyncio.gather(*(self._test_name(_name(inbound), proxy, life, hasten) for inbound, proxy in tests))
            hasten.cancel()

    async def _end_probes(self, names: list[str]) -> None:
        """End Xray's probes of names that are tested for the first time, once they have recorded what they need."""
        untested = [name for name in names if name not in self._tested]
        if not untested:
            return
        began = self._up_at  # not now: the probes began before our client did
        while (patience_s := self.probes.patience_s(untested)) is None:  # noqa: ASYNC110 - reports come from another thread
            await asyncio.sleep(_LOOK_EVERY_S)
        await asyncio.sleep(began + patience_s - time.monotonic())
        with suppress(XrayUnavailable):
            await asyncio.to_thread(self.probes.end, [name for name in untested if name not in self.ready])

    async def _test_name(self, name: str, proxy: Path, life: int, hasten: asyncio.Task[None]) -> None:
        """Send requests through one inbound until one is answered, and note the result.

        One is sent every so often, and one as soon as `hasten` is done, which lets the next client in.
        """
        patience = _AGAIN if name in self._tested else _FIRST
        note = partial(self._note, name, life, self._doubts.get(name, 0))
        requests: set[asyncio.Task[bool]] = set()
        deadline = time.monotonic() + patience.for_s
        try:
            while time.monotonic() < deadline and self._life == life and self._up:
                requests.add(asyncio.create_task(_answers(proxy)))
                awaited = requests if hasten.done() else {*requests, hasten}
                timeout_s = patience.every_s
                done, _ = await asyncio.wait(awaited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                answered, requests = requests & done, requests - done
                if any(task.result() for task in answered):
                    note(works=True)
                    return
                if answered:  # refused at once: do not send the next one without a pause
                    await asyncio.sleep(patience.every_s)
            note(works=False)
        finally:
            for task in requests:
                task.cancel()
            await asyncio.gather(*requests, return_exceptions=True)

    def _note(self, name: str, life: int, doubts: int, *, works: bool) -> None:
        with self._changed:
            if self._life != life or not self._up or self._doubts.get(name, 0) != doubts:
                return
            self._tested |= {name}
            is_news = works and name not in self.ready
            self.ready = self.ready | {name} if works else self.ready - {name}
            self.failing = self.failing - {name} if works else self.failing | {name}
            self._changed.notify_all()
        if is_news:
            self.on_ready()

    def _log_failing_names(self, life: int) -> None:
        if self._life != life or not self._up:
            return
        before, self._logged = self._logged, self.failing
        if self._logged - before:
            _log.warning(
                "no client gets through %s: check that its target answers TLS 1.3 with h2 from this server; "
                "keys are made with the other names, and it is tested again in %.0f s",
                ", ".join(sorted(self._logged)),
                _TEST_EVERY_S,
            )
        if before - self._logged:
            _log.info("clients get through %s again", ", ".join(sorted(before - self._logged)))


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
        yield await stack.enter_async_context(running_client(xray, environment, directory, ways, "names"))


async def _answers(proxy: Path) -> bool:
    """Return whether a request through the proxy is answered by the server's Xray.

    Raises ClientFailed when the proxy does not answer CONNECT, for which it needs no server: nothing is known then.
    """
    try:
        reader, writer = await connect(proxy, *_NOWHERE)
    except (OSError, asyncio.IncompleteReadError) as error:
        raise ClientFailed("it ended during the test") from error
    try:
        writer.write(_REQUEST)
        return bool(await reader.read(1))
    except OSError:
        return False
    finally:
        writer.close()
