"""While the database takes no writes, limits strike all the same, and no byte is lost or counted twice."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.fake_ledger import FakeLedger
from tests.fakes import Connection
from tests.support.memory import HOME, World
from tests.support.slowness import slowness

from vpnkeys.domain.change import KeyChanges
from vpnkeys.domain.errors import NotWritten, StoreUnavailable, Unavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status
from vpnkeys.domain.making import Draft
from vpnkeys.domain.traffic import Samples
from vpnkeys.interfaces import HeldStops, Holds
from vpnkeys.service.limits.striking import enforce_before_start
from vpnkeys.service.rotation import Renewal, rotate
from vpnkeys.service.traffic import TrafficService, count
from vpnkeys.store.files.stop_journal import FileStopJournal

WORK = "192.0.2.2"


@pytest.fixture
def world() -> World:
    """A server without keys."""
    return World()


def journaled(world: World, directory: Path) -> World:
    """Return the same server, with a stop journal, after what it does before it starts Xray."""
    stops = world.keys.reconciler.stops
    stops.journal, stops.samples = FileStopJournal(directory), world.enforcer.traffic.unstored
    enforce_before_start(world.keys.changer)
    return world


def next_life(world: World, directory: Path) -> World:
    """Return the next server after this one and its Xray were killed."""
    world.node.end_xray()
    again = journaled(World(store=world.store, clock=world.clock, node=world.node), directory)
    with suppress(Unavailable):
        again.keys.reconciler.reconcile()
    return again


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


def test_what_is_stored_is_not_merged_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """But once in a while, after a commit that failed, and for the last time: the database may have lost it."""
    keys, traffic, merged = [world.make() for _ in range(3)], world.enforcer.traffic, []
    now, merge = 1000.0, FakeLedger.merge
    inside = [world.customer(key) for key in keys]
    traffic.unstored.now = lambda: now

    def noted(ledger: FakeLedger, samples: Samples, at: datetime) -> None:
        merged.append({*samples.usage})
        merge(ledger, samples, at)

    def sampled(*used: int) -> set[str]:
        for number in used:
            world.node.carry(inside[number], 1, 0)
        merged.clear()
        traffic.collect()
        return merged.pop()

    monkeypatch.setattr(FakeLedger, "merge", noted)
    everyone = {key.account for key in keys}
    assert sampled(0, 1, 2) == everyone
    assert [sampled(), sampled(1), sampled()] == [set(), {keys[1].account}, set()]
    now += 30.0
    assert [sampled(), sampled()] == [everyone, set()]
    with full_disk(world):
        sampled(2)
    assert [sampled(), sampled()] == [everyone, set()]
    traffic.close_epoch(world.node.sample())
    assert merged == [everyone]
    assert [world.store.traffic(key.account).total_bytes for key in keys] == [1, 2, 2]


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
        sampler.tick()
    sampler.tick()


def test_a_start_with_a_full_disk_lets_in_nobody_who_expired(world: World) -> None:
    """The verdict is held in memory, and stored when there is room."""
    key, other = world.make(Limits(expires_at=world.clock.now() + timedelta(hours=1))), world.make()
    again = World(store=world.store, clock=world.clock)
    world.clock.advance(hours=1)
    with full_disk(again):
        enforce_before_start(again.keys.changer)
        assert (again.status(key), again.status(other)) == (Status.EXPIRED, Status.ACTIVE)
    again.keys.reconciler.reconcile()
    assert {one.id: one.status for one in world.store.keys()} == {key.id: Status.EXPIRED, other.id: Status.ACTIVE}  # noqa: SIM118 - not a dict
    assert not again.keys.reconciler.compare()[1]


@pytest.mark.parametrize("fault", [full_disk, held_lock])
def test_a_stop_outlasts_the_server(world: World, tmp_path: Path, fault: Callable[[World], Iterator[None]]) -> None:
    """Deleted, switched off and used up while nothing can be stored; two servers are killed before there is room."""
    journaled(world, tmp_path)
    deleted, switched, used, other = world.make(), world.make(), world.make(Limits(traffic_bytes=100)), world.make()
    statuses = {switched.id: Status.DISABLED, used.id: Status.LIMITED, other.id: Status.ACTIVE}
    with fault(world):  # type: ignore[attr-defined]
        with pytest.raises(NotWritten):
            world.keys.delete(deleted.id)
        with pytest.raises(NotWritten):
            world.keys.change(switched.id, lambda key: Draft(key.name, key.note, key.limits, is_active=False))
        world.node.carry(world.customer(used), 60, 40)
        world.quotas.look()
        for _ in range(2):
            world = next_life(world, tmp_path)
            world.quotas.look()
            world.look()
            assert {key.id: key.status for key in world.keys.list()} == statuses
            assert [world.node.connect(key) for key in (deleted, switched, used)] == [None] * 3
            assert world.node.connect(other)
    for _ in range(2):
        world = next_life(world, tmp_path)
        world.look()
        assert {key.id: key.status for key in world.store.keys()} == statuses  # noqa: SIM118 - not a dict
        assert world.enforcer.traffic.unstored.used_bytes({used.account: None}) == {used.account: 100}
    world.keys.change(switched.id, lambda key: Draft(key.name, key.note, key.limits))
    assert next_life(world, tmp_path).status(switched) is Status.ACTIVE


def test_a_journal_of_other_keys_is_left_alone(world: World, tmp_path: Path) -> None:
    """As after a restore, or of a server that was killed between its commit and clearing the journal."""
    journal, stranger = FileStopJournal(tmp_path), World().make()
    off = replace(world.make(), is_active=False)
    with world.store.write() as transaction:
        transaction.update(off)
    journal.keep(HeldStops(KeyChanges(update=(off, replace(stranger, is_active=False)), delete=("gone",))))
    assert journaled(world, tmp_path).keys.list() == (off,)
    assert not world.keys.reconciler.stops.are_unwritten
    assert journal.read() is None


def test_a_change_that_is_no_stop_is_not_held_for_later(world: World) -> None:
    """A key whose stop is not stored yet gets no new UUID behind the answer that nothing was changed."""
    key = world.make()
    with full_disk(world):
        with pytest.raises(NotWritten):
            world.keys.change(key.id, lambda key: Draft(key.name, key.note, key.limits, is_active=False))
        with pytest.raises(StoreUnavailable):
            rotate(world.keys, key.id, Renewal(uuid=True))
        with pytest.raises(NotWritten):
            world.keys.change(key.id, lambda key: Draft(key.name, key.note, key.limits, is_active=False))
    world.keys.reconciler.reconcile()
    assert world.store.keys() == (replace(key, is_active=False),)


@dataclass
class _Watched:
    """A journal that notes which keys could be seen to be active while it was told of a stop."""

    active: Callable[[], list[bool]]
    seen: list[list[bool]] = field(default_factory=list)

    def keep(self, _held: HeldStops) -> Holds:
        """Note it."""
        self.seen.append(self.active())
        return Holds.FOR_GOOD

    def read(self) -> None:
        """Nothing is left of an earlier server."""

    def clear(self) -> None:
        """Nothing is held."""


def test_a_stop_is_in_the_journal_before_it_can_be_seen(world: World) -> None:
    """Who is told that a key is switched off is told so by the next server too."""
    key = world.keys.create(Draft("me"))
    watched = _Watched(lambda: [one.is_active for one in world.keys.list()])
    world.keys.reconciler.stops.journal = watched
    with full_disk(world), suppress(Unavailable):
        world.keys.change(key.id, lambda one: Draft(one.name, is_active=False))
    assert watched.seen[0] == [True]
    assert watched.active() == [False]
