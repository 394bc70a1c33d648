"""The last quarter of an hour as the server keeps it, and what a host says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from tests.fakes import FakeClock

from vpnkeys.domain.nodes import LOCAL
from vpnkeys.domain.traffic import Bytes, Tally
from vpnkeys.ops.overview import EVERY_S, KEPT_FOR_S, OverviewKeeper

_STAT = "cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
_MEMORY = "MemTotal:        2048 kB\nMemFree:          100 kB\nMemAvailable:     512 kB\n"


@dataclass
class Sampled:
    """A store with one key, whose counters grow; a sample comes when a test says so."""

    clock: FakeClock
    bytes: Bytes = field(default_factory=lambda: Bytes(0, 0))
    sampled_at: Any = None

    def sample(self, up: int = 0, down: int = 0) -> None:
        """Count some more, now."""
        self.bytes = Bytes(self.bytes.up + up, self.bytes.down + down)
        self.sampled_at = self.clock.now()

    def tally(self) -> Tally:
        """What the database says."""
        return Tally(by_node={LOCAL.id: self.bytes}, gaps=0, sampled_at=self.sampled_at)


@pytest.fixture
def clock() -> FakeClock:
    """A clock in a test's hand."""
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> Sampled:
    """Counters in a test's hand."""
    return Sampled(clock)


class Nothing:
    """No backups, and no certificate."""

    cert = Path("/nonexistent")

    def files(self) -> tuple[()]:
        """None."""
        return ()


@pytest.fixture
def keeper(tmp_path: Path, clock: FakeClock, store: Sampled) -> OverviewKeeper:
    """A keeper over a host of a test's own."""
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "meminfo").write_text(_MEMORY)
    (proc / "stat").write_text(_STAT.format(busy=100, idle=100))
    nothing = cast("Any", Nothing())
    return OverviewKeeper(tmp_path, cast("Any", store), nothing, nothing, clock, proc)


def test_rates_are_those_between_two_samples(keeper: OverviewKeeper, clock: FakeClock, store: Sampled) -> None:
    """By the time of the samples, whenever they are looked at; bytes from before the first look are none."""
    store.sample(up=10**9, down=10**9)
    keeper.note()
    assert keeper.look().recent == ()
    clock.advance(seconds=10)
    store.sample(up=1000, down=50_000)
    clock.advance(seconds=3)  # the look comes later than the sample
    keeper.note()
    (moment,) = keeper.look().recent
    assert (moment.up_rate, moment.down_rate) == (100, 5000)
    assert moment.at == clock.now() - timedelta(seconds=3)


def test_the_first_sample_of_all_is_shown(keeper: OverviewKeeper, clock: FakeClock, store: Sampled) -> None:
    """A new server has none yet when it begins; its first customer is seen all the same."""
    keeper.note()
    clock.advance(seconds=10)
    store.sample(up=1000, down=50_000)
    keeper.note()
    (moment,) = keeper.look().recent
    assert (moment.up_rate, moment.down_rate) == (100.0, 5000.0)


def test_without_a_new_sample_there_is_no_new_moment(keeper: OverviewKeeper, clock: FakeClock, store: Sampled) -> None:
    """A sampler that is late makes no zero, and then no peak."""
    store.sample()
    keeper.note()
    for _ in range(3):
        clock.advance(seconds=10)
        keeper.note()
    store.sample(down=3000)
    keeper.note()
    assert [moment.down_rate for moment in keeper.look().recent] == [100]


def test_only_a_quarter_of_an_hour_is_kept(keeper: OverviewKeeper, clock: FakeClock, store: Sampled) -> None:
    """Also when nothing new comes."""
    for _ in range(200):
        store.sample(down=10)
        keeper.note()
        clock.advance(seconds=EVERY_S)
    assert len(keeper.look().recent) == KEPT_FOR_S // EVERY_S
    clock.advance(seconds=KEPT_FOR_S - 5 * EVERY_S)
    assert len(keeper.look().recent) == 5
    clock.advance(seconds=KEPT_FOR_S)
    assert keeper.look().recent == ()


def test_a_host_says_what_it_has_and_uses(keeper: OverviewKeeper, store: Sampled) -> None:
    """The processor's part since the look before; memory that programs could have; the disk of the data."""
    store.sample()
    keeper.note()
    assert keeper.look().host.cpu_share is None
    (keeper.proc / "stat").write_text(_STAT.format(busy=130, idle=170))
    keeper.note()
    host = keeper.look().host
    assert host.cpu_share == pytest.approx(0.3)
    assert (host.memory_bytes, host.memory_free_bytes) == (2048 * 1024, 512 * 1024)
    assert 0 < host.disk_free_bytes <= host.disk_bytes
    assert host.cores >= 1
