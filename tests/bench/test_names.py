"""What it costs to test the server names with a real client every half minute."""

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

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

ROUNDS = 10
ROUNDS_AN_HOUR = 120


@pytest.mark.parametrize("count", [1, 5, 12])
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


def _succeeded_since(bench: ProberBench, began: float) -> bool:
    status = bench.prober.worker.status()
    age = None if status is None else status.last_success_age_s
    return age is not None and time.monotonic() - age > began


def _spent(xray: int) -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime + cpu_s(xray)
