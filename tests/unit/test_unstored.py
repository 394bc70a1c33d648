"""While the database takes no writes, limits strike all the same, and no byte is lost or counted twice."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from tests.fakes import Connection
from tests.support.memory import HOME, World
from tests.support.slowness import slowness

from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status
from vpnkeys.service.traffic import TrafficService, count

WORK = "192.0.2.2"


@pytest.fixture
def world() -> World:
    """A server without keys."""
    return World()


@contextmanager
def full_disk(world: World) -> Iterator[None]:
    """Neither the database nor config.json can be written."""
    world.store.memory.is_full, world.node.writable = True, False
    yield
    world.store.memory.is_full, world.node.writable = False, True


@contextmanager
def held_lock(world: World) -> Iterator[None]:
    """Another process holds the write lock."""
    with world.store.memory.lock:
        yield


def use_up(world: World, _key: Key, connection: Connection) -> None:
    """The byte passes."""
    world.node.carry(connection, 60, 40)


def expire(world: World, _key: Key, _connection: Connection) -> None:
    """The second comes."""
    world.clock.advance(hours=1)


Strike = Callable[[World, Key, Connection], None]
LIMITS: dict[Strike, tuple[Limits, Status]] = {
    use_up: (Limits(traffic_bytes=100), Status.LIMITED),
    expire: (Limits(expires_at=World().clock.now() + timedelta(hours=1)), Status.EXPIRED),
}


@pytest.mark.parametrize("fault", [full_disk, held_lock])
@pytest.mark.parametrize("strike", LIMITS)
def test_a_limit_strikes_without_a_write(
    world: World, fault: Callable[[World], Iterator[None]], strike: Strike
) -> None:
    """In the running Xray, soon, and for nobody else; when the disk takes it again, all say the same."""
    limits, verdict = LIMITS[strike]
    key, neighbour = world.make(limits), world.make()
    inside, beside = world.customer(key), world.customer(neighbour)
    with fault(world):  # type: ignore[attr-defined]
        strike(world, key, inside)
        began = time.monotonic()
        world.look()
        assert time.monotonic() - began < 2.0 * slowness()
        assert (inside.is_open, world.node.connect(key)) == (False, None)
        assert world.status(key) is verdict
        assert world.keys.reconciler.stops.are_unwritten
        world.look()
        assert beside.is_open
    world.keys.reconciler.reconcile()
    assert {one.id: one.status for one in world.store.keys()} == {key.id: verdict, neighbour.id: Status.ACTIVE}  # noqa: SIM118 - not a dict
    assert not world.keys.reconciler.compare()[1]
    assert beside.is_open


@pytest.mark.parametrize("fault", [full_disk, held_lock])
def test_a_device_too_many_is_cut_off_without_a_write(world: World, fault: Callable[[World], Iterator[None]]) -> None:
    """Also when another key's quota strikes at the same look."""
    key, other = world.make(Limits(max_devices=1)), world.make(Limits(traffic_bytes=100))
    first, struck = world.customer(key, HOME), world.customer(other)
    world.look()
    with fault(world):  # type: ignore[attr-defined]
        second = world.customer(key, WORK)
        use_up(world, other, struck)
        world.look()
        assert [first.is_open, second.is_open, struck.is_open] == [False, True, False]


def test_a_key_within_its_quota_goes_on(world: World) -> None:
    """However often the same bytes are sampled while nothing can be stored: they count once."""
    key = world.make(Limits(traffic_bytes=100))
    inside = world.customer(key)
    world.node.carry(inside, 10, 0)
    world.look()
    with full_disk(world):
        world.node.carry(inside, 50, 39)
        for _ in range(3):
            world.look()
        assert (inside.is_open, world.status(key)) == (True, Status.ACTIVE)
    world.look()
    assert world.store.traffic(key.uuid).total_bytes == 99


def test_an_outage_neither_loses_nor_repeats_a_byte(world: World) -> None:
    """Two lives of Xray pass while nothing can be stored, one ended by us; another process counts some of the same."""
    key = world.make()
    traffic = world.enforcer.traffic
    world.node.carry(world.customer(key), 5, 5)
    traffic.collect()
    with full_disk(world):
        world.node.carry(world.customer(key), 10, 0)
        with pytest.raises(StoreUnavailable):
            traffic.close_epoch(world.node.sample())
        world.node.end_xray()
        world.node.start_xray()
        world.node.carry(world.customer(key), 100, 0)
        traffic.collect()
        assert traffic.unstored.traffic_of([key.uuid])[key.uuid].total_bytes == 120
    count(world.store, world.node, world.clock)  # as `vpnkeys traffic collect`
    assert traffic.unstored.used_bytes({key.uuid: None}) == {key.uuid: 120}
    world.node.carry(world.customer(key), 1, 0)
    traffic.collect()
    assert world.store.traffic(key.uuid).total_bytes == 121
    assert world.store.traffic(key.uuid).gaps == ()
    assert traffic.unstored.used_bytes({key.uuid: None}) == {key.uuid: 121}


def test_a_reset_counts_what_was_not_stored_before_it(world: World) -> None:
    """Bytes of before the reset do not turn up after it."""
    key = world.make()
    traffic = world.enforcer.traffic
    with full_disk(world):
        world.node.carry(world.customer(key), 100, 0)
        traffic.collect()
        with pytest.raises(StoreUnavailable):
            traffic.reset(key)
        assert traffic.unstored.used_bytes({key.uuid: None}) == {key.uuid: 100}
    traffic.reset(key)
    assert world.store.traffic(key.uuid).total_bytes == 0
    assert traffic.unstored.used_bytes({key.uuid: None}) == {key.uuid: 0}


def test_the_sampler_says_that_nothing_is_stored(world: World) -> None:
    """Its step fails, so that the log and /health tell of it; a request is answered with what was counted."""
    sampler = TrafficService(world.store, world.node, world.clock)
    with full_disk(world), pytest.raises(StoreUnavailable):
        sampler._sample()
    sampler._sample()


def test_a_start_with_a_full_disk_lets_in_nobody_who_expired(world: World) -> None:
    """The verdict is held in memory, and stored when there is room."""
    key, other = world.make(Limits(expires_at=world.clock.now() + timedelta(hours=1))), world.make()
    again = World(store=world.store, clock=world.clock)
    world.clock.advance(hours=1)
    with full_disk(again):
        again.keys.enforce_before_start()
        assert (again.status(key), again.status(other)) == (Status.EXPIRED, Status.ACTIVE)
    again.keys.reconciler.reconcile()
    assert {one.id: one.status for one in world.store.keys()} == {key.id: Status.EXPIRED, other.id: Status.ACTIVE}  # noqa: SIM118 - not a dict
    assert not again.keys.reconciler.compare()[1]
