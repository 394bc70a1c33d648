"""When a server name counts as tested, when it is tried, and who hears of that."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from tests.support.memory import SITE
from tests.support.process import PATIENCE_S, wait_until

from vpnkeys.domain.inbound import Inbound
from vpnkeys.domain.target import TargetReport
from vpnkeys.xray.probe import server_names
from vpnkeys.xray.probe.kernel import Probes
from vpnkeys.xray.probe.server_names import ServerNameProber


def _no_report(_: str) -> TargetReport | None:
    return None


@contextmanager
def running(prober: ServerNameProber) -> Iterator[None]:
    """Xray is up, and the names are tested in a thread."""
    prober.worker.start()
    try:
        prober.xray_is_up()
        yield
    finally:
        prober.worker.stop()


def test_the_next_client_goes_as_soon_as_the_probes_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that comes during Xray's probe of a target is left waiting; the next one does not wait for its turn."""
    ended, asked_during_probe = threading.Event(), threading.Event()

    class _Probes(Probes):
        def patience_s(self, _: object) -> float:
            return 0.0

        def end(self, _: object) -> None:
            assert asked_during_probe.wait(PATIENCE_S)
            ended.set()

    @asynccontextmanager
    async def client(*_: object) -> AsyncIterator[list[Path]]:
        yield [Path("proxy") for _ in SITE.server_names]

    async def answers(_: Path) -> bool:
        if not ended.is_set():
            asked_during_probe.set()
            await asyncio.Event().wait()
        return True

    monkeypatch.setattr(server_names, "_client", client)
    monkeypatch.setattr(server_names, "_answers", answers)
    monkeypatch.setattr(server_names, "_FIRST", server_names._Patience(every_s=2 * PATIENCE_S, for_s=4 * PATIENCE_S))
    prober = ServerNameProber(Path("xray"), {}, lambda: SITE, _Probes(lambda: 0, _no_report))
    with running(prober):
        assert wait_until(lambda: prober.ready == frozenset(SITE.server_names))


def test_an_answer_to_an_earlier_test_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is suspected while a request is on its way, which is answered then; the test after it counts."""
    ready_at_start: list[frozenset[str]] = []
    is_under_way, may_answer = threading.Event(), threading.Event()

    @asynccontextmanager
    async def client(*_: object) -> AsyncIterator[list[Path]]:
        ready_at_start.append(prober.ready)
        yield [Path("proxy")]

    async def answers(_: Path) -> bool:
        is_under_way.set()
        await asyncio.to_thread(may_answer.wait, PATIENCE_S)
        return True

    monkeypatch.setattr(server_names, "_client", client)
    monkeypatch.setattr(server_names, "_answers", answers)
    prober = ServerNameProber(Path("xray"), {}, lambda: SITE, Probes(lambda: 0, _no_report))
    with running(prober):
        try:
            assert is_under_way.wait(PATIENCE_S)
            prober.suspect(SITE.server_names[0])
        finally:
            may_answer.set()
        assert wait_until(lambda: len(ready_at_start) > 1)
        assert ready_at_start[:2] == [frozenset(), frozenset()]
        assert wait_until(lambda: prober.ready == frozenset(SITE.server_names))


def test_it_is_said_at_once_when_a_name_becomes_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each name once, when it is in the set already; again only after it was lost."""
    told: list[frozenset[str]] = []

    @asynccontextmanager
    async def client(
        _xray: object, _env: object, _key: object, inbounds: tuple[Inbound, ...]
    ) -> AsyncIterator[list[Path]]:
        yield [Path("proxy")] * len(inbounds)

    async def answers(_: Path) -> bool:
        return True

    def tested_again() -> bool:
        prober.try_again()
        return tests.count(1) > 1

    tests: list[int] = []
    monkeypatch.setattr(server_names, "_client", client)
    monkeypatch.setattr(server_names, "_answers", answers)
    monkeypatch.setattr(ServerNameProber, "_log_failing_names", lambda *_: tests.append(1))
    prober = ServerNameProber(Path("xray"), {}, lambda: SITE, Probes(lambda: 0, _no_report))
    prober.on_ready = lambda: told.append(prober.ready)
    with running(prober):
        names = frozenset(SITE.server_names)
        assert wait_until(lambda: prober.ready == names)
        assert wait_until(tested_again)
        assert (len(told), told[-1]) == (len(names), names)
        prober.suspect(SITE.server_names[0])
        assert wait_until(lambda: len(told) > len(names))
