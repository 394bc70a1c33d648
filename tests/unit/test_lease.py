"""One of several servers does what only one may do, also when it is slow, dies, or ends in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from tests.fake_store import FakeStore, FakeTransaction, Memory

from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.interfaces import PATIENCE_S
from vpnkeys.service.nodes.lease import TAKEN_OVER_AFTER_S, Lease, release_all


@dataclass
class Time:
    """Seconds of a clock of one server."""

    seconds: float = 0.0

    def now(self) -> float:
        """The seconds so far."""
        return self.seconds


@dataclass(slots=True)
class SlowStore(FakeStore):
    """A database on which a commit takes some time of a server's clock."""

    clock: Time = field(default_factory=Time)
    takes_s: float = 0.0

    @contextmanager
    def write(self, *, durable: bool = True, patience_s: float = PATIENCE_S) -> Iterator[FakeTransaction]:
        """Slowly."""
        self.clock.seconds += self.takes_s
        with FakeStore.write(self, durable=durable, patience_s=patience_s) as transaction:
            yield transaction


def servers() -> tuple[Memory, Time, Lease, Time, Lease]:
    """Two servers on one database, whose clocks have nothing to do with each other."""
    memory, here, there = Memory(), Time(100.0), Time(7_000.0)
    one, other = FakeStore(memory, is_remote=True), FakeStore(memory, is_remote=True)
    return memory, here, Lease("work", one, "one", here.now), there, Lease("work", other, "other", there.now)


def test_one_has_it_as_long_as_it_works() -> None:
    """The other one never."""
    _, here, one, there, other = servers()
    for _ in range(60):
        assert one.is_mine()
        assert not other.is_mine()
        here.seconds += 1
        there.seconds += 1


def test_the_other_one_takes_it_over_from_one_that_died() -> None:
    """After ten seconds without a beat that it has seen itself, and not before."""
    _, _, one, there, other = servers()
    assert one.is_mine()
    assert not other.is_mine()
    there.seconds += TAKEN_OVER_AFTER_S - 1
    assert not other.is_mine()
    there.seconds += 4
    assert other.is_mine()


def test_one_that_stood_still_has_it_no_more() -> None:
    """It stops by its own clock before another one can begin, and does not take it back."""
    _, here, one, there, other = servers()
    assert one.is_mine()
    assert not other.is_mine()
    here.seconds += TAKEN_OVER_AFTER_S - 1
    one._ask_at = float("inf")  # as if it were between two steps
    assert not one.is_mine()
    there.seconds += TAKEN_OVER_AFTER_S + 1
    assert other.is_mine()
    one._ask_at = 0.0
    assert not one.is_mine()


def test_a_slow_commit_makes_a_lease_no_longer() -> None:
    """It counts from before."""
    clock = Time(1.0)
    store = SlowStore(Memory(), is_remote=True, clock=clock, takes_s=TAKEN_OVER_AFTER_S)
    assert not Lease("work", store, "one", clock.now).is_mine()


def test_one_that_ends_leaves_it_at_once() -> None:
    """The next look of the other one finds it free; a database that is silent keeps nobody from ending."""
    memory, _, one, there, other = servers()
    assert one.is_mine()
    assert not other.is_mine()
    release_all(one.store, "one")
    there.seconds += 4
    assert other.is_mine()
    memory.answering = False
    release_all(other.store, "other")
    there.seconds += 4
    with pytest.raises(StoreUnavailable):
        other.is_mine()


def test_a_server_alone_asks_for_nothing() -> None:
    """Its database is its own."""
    memory = Memory()
    assert Lease("work", FakeStore(memory), "one").is_mine()
    assert not memory.tables.leases
