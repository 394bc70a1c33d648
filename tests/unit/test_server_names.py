"""A server name that was suspected is ready again only by a test that began after that."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.memory import SITE
from tests.support.process import PATIENCE_S, wait_until

from vpnkeys.domain.target import TargetReport
from vpnkeys.xray.probe import server_names
from vpnkeys.xray.probe.kernel import Probes
from vpnkeys.xray.probe.server_names import ServerNameProber


def _no_report(_: str) -> TargetReport | None:
    return None


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
    prober.worker.start()
    try:
        prober.xray_is_up()
        assert is_under_way.wait(PATIENCE_S)
        prober.suspect(SITE.server_names[0])
        may_answer.set()
        assert wait_until(lambda: len(ready_at_start) > 1)
        assert ready_at_start[:2] == [frozenset(), frozenset()]
        assert wait_until(lambda: prober.ready == frozenset(SITE.server_names))
    finally:
        may_answer.set()
        prober.worker.stop()
