"""When a sample is taken: soon after bytes have passed, and rarely while none do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import pytest
from tests.fakes import Connection, FakeNode
from tests.support.memory import SITE, World

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status
from vpnkeys.domain.traffic import Carried, Samples
from vpnkeys.service.sampler import Sampler

EVERY_S = 10.0


@dataclass
class Slow(FakeNode):
    """A node whose samples take their time; its Xray counts for all before it does for a user, or not at all."""

    names: frozenset[str] = frozenset(SITE.server_names)
    now: float = 1000.0
    takes_s: float = 0.0
    counts_all: bool = True
    ahead: int = 0
    samples: int = 0

    def sample(self, uuids: Collection[str] | None = None) -> Samples:
        """The counters, after a while."""
        self.samples += 1
        self.now += self.takes_s
        return super().sample(uuids)

    def carried(self) -> Carried | None:
        """What it has counted, if it counts."""
        carried = super().carried()
        return carried._replace(total_bytes=carried.total_bytes + self.ahead) if carried and self.counts_all else None


@dataclass
class Scene:
    """A key whose customer is connected, and a sampler that has taken its first samples."""

    node: Slow = field(default_factory=Slow)
    world: World = field(init=False)
    key: Key = field(init=False)
    customer: Connection = field(init=False)
    sampler: Sampler = field(init=False)

    def __post_init__(self) -> None:
        """Let the first samples pass, until nothing is new."""
        self.world = World(node=self.node)
        self.node.start_xray()
        self.key = self.world.make()
        self.customer = self.world.customer(self.key)
        self.sampler = Sampler(self.world.enforcer.traffic, EVERY_S, now=lambda: self.node.now)
        self.look(3)

    def look(self, times: int = 1) -> float:
        """Let the sampler look so often, each time when it wants to; return for how long it then waits."""
        wait_s = 0.0
        for _ in range(times):
            wait_s = self.sampler.step()
            self.node.now += wait_s
        return wait_s

    def stored(self) -> int:
        """How many bytes the database has."""
        return self.world.store.traffic(self.key.account).total_bytes


def test_bytes_are_sampled_at_the_next_look() -> None:
    """A second after they have passed, not ten."""
    scene = Scene()
    for total in (100, 250):
        scene.node.carry(scene.customer, total - scene.stored(), 0)
        assert scene.look() == 1.0
        assert scene.stored() == total


def test_bytes_that_xray_counts_a_moment_later_are_sampled_too() -> None:
    """It counts them for all before it does for their user."""
    scene = Scene()
    scene.node.ahead = 70
    scene.look()
    assert scene.stored() == 0
    scene.node.ahead = 0
    scene.node.carry(scene.customer, 70, 0)
    scene.look()
    assert scene.stored() == 70


def test_nothing_is_read_while_nothing_passes() -> None:
    """One sample in ten seconds, and a question a second."""
    scene = Scene()
    scene.node.carry(scene.customer, 5, 0)
    scene.look(2)
    taken = scene.node.samples
    for _ in range(3):
        began = scene.node.now
        while scene.node.samples == taken:
            scene.look()
        assert scene.node.now - began == pytest.approx(EVERY_S, abs=1.0)
        taken = scene.node.samples


def test_one_sample_serves_the_enforcer_too() -> None:
    """A limit is checked after each of the sampler's; the enforcer takes its own only where there are none."""
    scene = Scene()
    world, waiting = scene.world, scene.world.waiting
    world.limit(scene.key, Limits(traffic_bytes=100))
    world.enforcer.look()
    for _ in range(6):
        scene.node.carry(scene.customer, 10, 0)
        taken = scene.node.samples
        scene.look()
        world.enforcer.look()
        waiting.time += 1.0
        assert scene.node.samples == taken + 1
    for samples in (0, 1, 0, 1):
        taken = scene.node.samples
        world.enforcer.look()
        waiting.time += 1.0
        assert scene.node.samples == taken + samples
    scene.node.carry(scene.customer, 40, 0)
    scene.look()
    world.enforcer.look()
    assert world.status(scene.key) is Status.LIMITED


def test_costly_samples_are_rare() -> None:
    """With very many keys, samples take a tenth of the time at the most, and no longer pause than without traffic."""
    scene = Scene()
    for takes_s, wait_s in ((0.05, 1.0), (0.3, 3.0), (5.0, EVERY_S)):
        scene.node.takes_s = takes_s
        scene.node.carry(scene.customer, 1, 0)
        assert scene.look() == pytest.approx(wait_s)


def test_an_xray_of_before_is_sampled_as_before() -> None:
    """One that was started without the counters of all together is sampled every ten seconds."""
    scene = Scene(Slow(counts_all=False))
    scene.node.now += EVERY_S
    scene.look()
    scene.node.carry(scene.customer, 8, 0)
    began = scene.node.now
    while not scene.stored():
        scene.look()
    assert scene.node.now - began == pytest.approx(EVERY_S, abs=1.0)


def test_a_silent_xray_fails_the_step_and_the_next_life_is_sampled() -> None:
    """Its counters begin at zero again, which is something new too."""
    scene = Scene()
    scene.node.carry(scene.customer, 40, 0)
    scene.look(3)
    scene.node.end_xray()
    with pytest.raises(XrayUnavailable):
        scene.look()
    scene.node.start_xray()
    scene.world.keys.reconciler.reconcile()
    scene.customer = scene.world.customer(scene.key)
    scene.node.carry(scene.customer, 40, 0)
    scene.look()
    assert scene.stored() == 80
