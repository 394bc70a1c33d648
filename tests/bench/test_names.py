"""What it costs to test server names with a real client each half minute, and to ask targets for an answer."""

from __future__ import annotations

import resource
import time
from functools import partial
from pathlib import Path

import pytest
from tests.bench.book import Book, Figure
from tests.support.prober import ProberBench, prober_bench
from tests.support.process import wait_until
from tests.support.procfs import cpu_s
from tests.support.target import RealityTarget

from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.domain.reality import KeyPair
from vpnkeys.xray.probe.targets import TargetWatch

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

ROUNDS = 10
ROUNDS_AN_HOUR = 120
QUESTIONS_AN_HOUR = 450
COUNTS = pytest.mark.parametrize("count", [1, 5, 12])


@COUNTS
def test_rounds(book: Book, tmp_path: Path, count: int) -> None:
    """CPU of this process, of the clients that it starts, and of the Xray that they connect to."""
    names = [f"n{number}.example.com" for number in range(count)]
    with prober_bench(tmp_path, names) as bench:
        xray = bench.counters.pid()
        before = _spent(xray)
        for _ in range(ROUNDS):
            began = time.monotonic()
            bench.prober.try_again()
            assert wait_until(partial(_succeeded_since, bench, began))
        spent = (_spent(xray) - before) / ROUNDS * ROUNDS_AN_HOUR
    book.add(Figure(f"tests of {count} server names", spent, "s CPU an hour"))


@COUNTS
def test_questions(book: Book, count: int) -> None:
    """CPU of this process. A round is one connection to each target, whose name is looked up first."""
    names, pair = tuple(f"n{number}.example.com" for number in range(count)), KeyPair.new()
    with RealityTarget(names, close_idle_s=0.1) as target:
        at = f"localhost:{target.port}"
        site = ServerIdentity("127.0.0.1", pair.private_key, "", names, at, "", pair.public_key)
        watch = TargetWatch(target.ca_file, lambda: site, tuple, lambda: None)
        watch.look()
        assert watch.usable == set(names)
        before = time.process_time()
        for _ in range(ROUNDS):
            assert watch.ask_all()
        spent = (time.process_time() - before) / ROUNDS * QUESTIONS_AN_HOUR
    book.add(Figure(f"questions to the targets of {count} server names", spent, "s CPU an hour"))


def _succeeded_since(bench: ProberBench, began: float) -> bool:
    status = bench.prober.worker.status()
    age = None if status is None else status.last_success_age_s
    return age is not None and time.monotonic() - age > began


def _spent(xray: int) -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime + cpu_s(xray)
