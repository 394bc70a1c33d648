"""The enforcer: each limit strikes, and lifts, and nobody else notices; when nothing is due, nothing is written."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.fakes import Connection, FakeClock
from tests.support.memory import HOME, World

from vpnkeys.domain.errors import SpeedLimitImpossible, StopPending, XrayUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import NO_LIMITS, Limits, Status, Window
from vpnkeys.domain.making import Draft
from vpnkeys.service.limits.extending import extend

WORK, CAFE = "192.0.2.2", "2001:db8::3"


@pytest.fixture
def world() -> World:
    """A server without keys."""
    return World()


def expire(world: World, key: Key, _: Connection) -> Status:
    """The second comes."""
    assert key.limits.expires_at is not None
    world.clock.time = key.limits.expires_at
    return Status.EXPIRED


def use_up(world: World, key: Key, connection: Connection) -> Status:
    """The byte passes."""
    world.node.carry(connection, 60, 40)
    return Status.LIMITED


STRIKES = [
    pytest.param(Limits(expires_at=FakeClock().now() + timedelta(hours=1)), expire, id="expiry"),
    pytest.param(Limits(traffic_bytes=100), use_up, id="traffic"),
    pytest.param(Limits(traffic_bytes=100, traffic_window=Window.DAY), use_up, id="traffic of a day"),
]
Strike = Callable[[World, Key, Connection], Status]


@pytest.mark.parametrize(("limits", "strike"), STRIKES)
def test_a_limit_strikes_and_is_lifted(world: World, limits: Limits, strike: Strike) -> None:
    """Who is in is cut, nobody gets in, the port stays the key's own; without the limit it is as before."""
    key, neighbour = world.make(limits), world.make()
    inside, beside = world.customer(key), world.customer(neighbour)
    world.look()
    assert (world.status(key), inside.is_open) == (Status.ACTIVE, True)
    verdict = strike(world, key, inside)
    world.look()
    assert world.status(key) is verdict
    assert not inside.is_open
    assert world.node.connect(key) is None
    assert world.make().port not in {key.port, neighbour.port}
    lifted = world.limit(key, NO_LIMITS)
    assert (lifted.status, lifted.port) == (Status.ACTIVE, key.port)
    assert world.node.connect(key) is not None
    assert beside.is_open


@pytest.mark.parametrize(("limits", "strike"), STRIKES)
def test_what_was_struck_stays_so_over_a_restart(world: World, limits: Limits, strike: Strike) -> None:
    """The verdict is in the database: neither a new service nor a new Xray lets the customer in."""
    key = world.make(limits)
    verdict = strike(world, key, world.customer(key))
    world.look()
    again = World(store=world.store, clock=world.clock)
    assert again.status(key) is verdict
    assert again.node.connect(key) is None
    again.look()
    assert again.status(key) is verdict


@pytest.mark.parametrize(
    ("window", "passes"),
    [(Window.DAY, timedelta(days=1)), (Window.WEEK, timedelta(days=7)), (Window.MONTH, timedelta(days=31))],
)
def test_a_window_that_turns_brings_a_key_back(world: World, window: Window, passes: timedelta) -> None:
    """Not a second earlier; and it can be used up again."""
    key = world.make(Limits(traffic_bytes=100, traffic_window=window))
    for _ in range(2):
        world.node.carry(world.customer(key), 0, 100)
        world.look()
        assert world.status(key) is Status.LIMITED
        world.clock.advance(days=passes.days)
        world.look()
        assert world.status(key) is Status.ACTIVE


def test_midnight_is_the_turn_of_a_day(world: World) -> None:
    """A second before it the key is limited, at it the key works."""
    key = world.make(Limits(traffic_bytes=100, traffic_window=Window.DAY))
    world.node.carry(world.customer(key), 0, 100)
    world.look()
    world.clock.time = world.clock.time.replace(hour=23, minute=59, second=59)
    world.look()
    assert world.status(key) is Status.LIMITED
    world.clock.advance(seconds=1)
    world.look()
    assert world.status(key) is Status.ACTIVE


@pytest.mark.parametrize("window", [*map(Window, ("total", "day", "week", "month", "month@31", "90d"))])
def test_a_reset_lifts_a_quota(world: World, window: Window) -> None:
    """What was used before it does not count any more, what is used after it does."""
    key = world.make(Limits(traffic_bytes=100, traffic_window=window))
    world.node.carry(world.customer(key), 0, 100)
    world.look()
    world.enforcer.traffic.reset(key)
    world.look()
    assert world.status(key) is Status.ACTIVE
    world.node.carry(world.customer(key), 99, 0)
    world.look()
    assert world.status(key) is Status.ACTIVE
    world.node.carry(world.customer(key), 1, 0)
    world.look()
    assert world.status(key) is Status.LIMITED


def test_extending_brings_back_what_expired(world: World) -> None:
    """From now on, not from when it expired; what never expires stays so, and the end of time is the end."""
    expired, timeless = world.make(Limits(expires_at=world.clock.now() + timedelta(hours=1))), world.make()
    world.clock.advance(days=10)
    world.look()
    assert world.status(expired) is Status.EXPIRED
    extended, same = extend(world.keys, [expired.id, timeless.id, expired.uuid], timedelta(days=1))
    assert extended.limits.expires_at == world.clock.now() + timedelta(days=1)
    assert (extended.status, same) == (Status.ACTIVE, timeless)
    extend(world.keys, [expired.id], timedelta.max)
    (late,) = extend(world.keys, [expired.id], timedelta(days=1))
    assert late.status is Status.ACTIVE


def test_the_newest_device_stays_and_the_oldest_goes(world: World) -> None:
    """Who was cut off and comes back is turned away again and again; nobody else's key notices."""
    key, neighbour = world.make(Limits(max_devices=2)), world.make()
    first, beside = world.customer(key, HOME), world.customer(neighbour, CAFE)
    world.look()
    second = world.customer(key, WORK)
    world.look()
    third = world.customer(key, CAFE)
    world.look()
    assert [first.is_open, second.is_open, third.is_open] == [False, True, True]
    for _ in range(3):
        again = world.customer(key, HOME)
        world.look()
        assert [again.is_open, second.is_open, third.is_open, beside.is_open] == [False, True, True, True]
    world.limit(key, NO_LIMITS)
    again = world.customer(key, HOME)
    world.look()
    assert [again.is_open, second.is_open, third.is_open] == [True, True, True]


def test_a_device_that_was_cut_off_comes_back_when_the_other_is_silent(world: World) -> None:
    """A phone that goes from one network to another and back again."""
    key = world.make(Limits(max_devices=1))
    before = world.customer(key, CAFE)
    world.look()
    now = world.customer(key, WORK)
    world.look()
    assert [before.is_open, now.is_open] == [False, True]
    world.node.silent[WORK] = 6.0
    world.waiting.time += 6.0
    back = world.customer(key, CAFE)
    world.look()
    assert [back.is_open, now.is_open] == [True, False]


def test_when_nothing_is_due_nothing_is_written(world: World) -> None:
    """No key with a traffic limit, no date that has come: a look reads, and that is all."""
    world.make(Limits(expires_at=world.clock.now() + timedelta(hours=1), max_devices=1, speed_mbps=5))
    expired = world.make(Limits(expires_at=world.clock.now()))
    assert expired.status is Status.EXPIRED
    before, applied = world.store.writes, len(world.node.applied)
    for _ in range(5):
        world.look()
    assert (world.store.writes, len(world.node.applied)) == (before, applied)


def test_between_two_samples_a_look_writes_nothing(world: World) -> None:
    """A key with a traffic limit is judged after a sample, and samples are not taken at each look."""
    world.make(Limits(traffic_bytes=100))
    world.look()
    before = world.store.writes
    world.enforcer.look()
    assert world.store.writes == before


def test_a_key_that_cannot_come_back_keeps_no_other_going(world: World) -> None:
    """Another program took its port meanwhile: it waits for it, and others stop when they should."""
    back = world.make(Limits(traffic_bytes=100, traffic_window=Window.DAY))
    world.node.carry(world.customer(back), 0, 100)
    world.look()
    stops = world.make(Limits(expires_at=world.clock.now() + timedelta(hours=1)))
    world.node.occupied.add(back.port)
    world.clock.advance(days=1)
    world.look()
    assert (world.status(back), world.status(stops)) == (Status.LIMITED, Status.EXPIRED)
    world.node.occupied.clear()
    world.look()
    assert world.status(back) is Status.ACTIVE


def test_limits_strike_while_xray_is_down(world: World) -> None:
    """What stops is written down at once and holds, whenever Xray comes back and with whatever file."""
    key = world.make(Limits(expires_at=world.clock.now() + timedelta(hours=1)))
    world.clock.advance(hours=1)
    file = world.node.file
    world.node.end_xray()
    with pytest.raises(StopPending):
        world.look()
    assert world.status(key) is Status.EXPIRED
    world.node.file = file
    world.node.start_xray()
    assert world.node.connect(key) is not None, "the file of before has it"
    world.keys.reconciler.reconcile()
    assert world.node.connect(key) is None


def test_a_host_that_limits_no_speed_keeps_nothing_else_from_working(world: World) -> None:
    """A new limit is refused; keys that have one can be switched off, expire, come back, be renamed and deleted."""
    one = world.make(Limits(speed_mbps=5, expires_at=world.clock.now() + timedelta(hours=1)))
    other = world.make(Limits(speed_mbps=7))
    world.node.can_limit_speeds = False
    with pytest.raises(SpeedLimitImpossible):
        world.make(Limits(speed_mbps=5))
    with pytest.raises(SpeedLimitImpossible):
        world.limit(other, Limits(speed_mbps=8))
    world.clock.advance(hours=1)
    world.look()
    assert world.status(one) is Status.EXPIRED
    extend(world.keys, [one.id], timedelta(days=1))
    assert world.status(one) is Status.ACTIVE
    world.keys.change(one.id, lambda key: Draft("renamed", "", key.limits, is_active=False))
    world.keys.reconciler.reconcile()
    world.keys.delete(one.id)
    assert [key.id for key in world.keys.list()] == [other.id]


def test_what_a_failed_change_left_is_closed_by_the_next(world: World) -> None:
    """Xray died while a key was switched on, and came back with the file as it was then: off is off when answered."""
    key = world.make()
    world.keys.change(key.id, lambda key: Draft(key.name, is_active=False))
    world.node.end_xray()
    with pytest.raises(XrayUnavailable):
        world.keys.change(key.id, lambda key: Draft(key.name))
    world.node.start_xray()
    inside = world.customer(key)
    world.keys.change(key.id, lambda key: Draft("renamed", is_active=False))
    assert not inside.is_open
    assert world.node.connect(key) is None
