"""What the benchmarks share: the book of the run, and a service with a hundred keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.bench.book import Book, legend
from tests.support.keys import Key
from tests.support.process import REPOSITORY
from tests.support.service import Service
from tests.support.streams import Echo
from tests.support.target import RealityTarget

NAMES = ("one.example.com", "two.example.com", "three.example.com")


@pytest.fixture(scope="session")
def book() -> Iterator[Book]:
    """The book; written to VPNKEYS_BENCH_JSON (default build/bench.json) in the end."""
    found = Book()
    yield found
    path = Path(os.environ.get("VPNKEYS_BENCH_JSON", REPOSITORY / "build" / "bench.json"))
    found.write(path)
    sys.stdout.write("\nThe floors:\n" + "".join(f"  {line}\n" for line in legend(found.figures)))
    missed = [figure.name for figure in found.figures if figure.is_met is False]
    sys.stdout.write(f"\nwritten to {path}; goals missed: {', '.join(missed) or 'none'}\n")


@pytest.fixture(scope="module")
def bench_target() -> Iterator[RealityTarget]:
    """A target that keeps its connections open, as real ones do."""
    with RealityTarget(NAMES) as target:
        yield target


@pytest.fixture(scope="module")
def far_end() -> Iterator[Echo]:
    """Who answers beyond the VPN."""
    with Echo() as server:
        yield server


@pytest.fixture(scope="module")
def full(bench_target: RealityTarget, far_end: Echo) -> Iterator[Service]:
    """A service with a hundred keys and room for twenty more."""
    with Service(bench_target, egress_allow=[far_end.egress_rule], port_count=120) as service:
        service.wait_ready()
        make_many(service, 100)
        yield service


def make_many(service: Service, count: int) -> list[Key]:
    """So many keys, twenty in a request."""
    made: list[Key] = []
    for first in range(0, count, 20):
        names = [{"name": f"key {number}"} for number in range(first, min(first + 20, count))]
        made += service.client.post("/api/keys/bulk", json={"keys": names}).raise_for_status().json()
    return made
