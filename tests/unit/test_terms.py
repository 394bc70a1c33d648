"""Times that begin with the first byte: they wait for it, begin once, and end as any other."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.support.memory import World

from vpnkeys.api.convert.keys import changed_draft
from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status, Window
from vpnkeys.wire import keys as wire

DAY_S = 86400
MONTH = Limits(expires_after_s=30 * DAY_S)


@pytest.fixture
def world() -> World:
    """A server without keys."""
    return World()


def test_a_time_begins_with_the_first_byte_and_not_with_a_connection(world: World) -> None:
    """However long it waits. The customer is not cut off by that, and the date does not move with more bytes."""
    key = world.make(MONTH)
    inside = world.customer(key)
    world.clock.advance(days=400)
    world.look()
    assert world.keys.get(key.id).limits == MONTH
    world.node.carry(inside, 1, 0)
    world.look()
    begun = world.keys.get(key.id)
    assert (begun.limits.expires_at, begun.status) == (world.clock.now() + timedelta(days=30), Status.ACTIVE)
    assert inside.is_open
    world.clock.advance(days=29, hours=23)
    world.node.carry(inside, 1000, 1000)
    world.look()
    assert (world.keys.get(key.id), inside.is_open) == (begun, True)
    world.clock.advance(hours=1)
    world.look()
    assert (world.status(key), inside.is_open) == (Status.EXPIRED, False)


def test_each_waits_for_its_own_byte(world: World) -> None:
    """A neighbour's use begins no other key's time; one with a traffic limit has both."""
    both, other = (
        world.make(Limits(traffic_bytes=100, traffic_window=Window.DAY, expires_after_s=DAY_S)),
        world.make(MONTH),
    )
    world.node.carry(world.customer(both), 60, 40)
    world.look()
    found = world.keys.get(both.id)
    assert (found.status, found.limits.expires_at) == (Status.LIMITED, world.clock.now() + timedelta(days=1))
    assert world.keys.get(other.id).limits.is_waiting


def test_a_silent_database_begins_no_time_twice(world: World) -> None:
    """The byte that it does not store is seen again when it answers."""
    key = world.make(MONTH)
    world.node.carry(world.customer(key), 1, 0)
    world.store.memory.answering = False
    with pytest.raises(StoreUnavailable):
        world.look()
    world.store.memory.answering = True
    world.clock.advance(minutes=1)
    world.look()
    assert world.keys.get(key.id).limits.expires_at == world.clock.now() + timedelta(days=30)


def test_extending_lengthens_what_waits(world: World) -> None:
    """Its date is not known, so that its days are more."""
    key = world.make(MONTH)
    (longer,) = world.keys.extend([key.id], timedelta(days=5))
    assert longer.limits == Limits(expires_after_s=35 * DAY_S)
    world.node.carry(world.customer(key), 1, 0)
    world.look()
    (later,) = world.keys.extend([key.id], timedelta(days=5))
    assert later.limits.expires_at == world.clock.now() + timedelta(days=40)


def changed(key: Key, **sent: object) -> Limits:
    """The limits of a key after a PATCH."""
    return changed_draft(wire.KeyChange.model_validate(sent), key).limits


def test_one_end_replaces_the_other(world: World) -> None:
    """Whatever is sent of the two; what is sent of neither stays."""
    at = world.clock.now()
    waiting, begun = world.make(MONTH), world.make(MONTH.begun(at))
    assert changed(waiting, note="x") == MONTH
    assert changed(begun, note="x") == MONTH.begun(at)
    assert changed(waiting, expires_at=None) == Limits()
    assert changed(begun, expires_at="2031-01-01T00:00:00Z").expires_after_s is None
    assert changed(begun, expires_after_s=60) == Limits(expires_after_s=60)
    assert changed(waiting, expires_after_s=None) == Limits()
    assert changed(begun, expires_after_s=None).expires_at == begun.limits.expires_at


@pytest.mark.parametrize("model", [wire.NewKey, wire.KeyChange])
def test_both_ends_are_refused(model: Callable[..., object]) -> None:
    """Which one is meant is not guessed."""
    with pytest.raises(ValueError, match="not both"):
        model(name="x", expires_at="2031-01-01", expires_after_s=60)


def test_a_node_beside_a_group_is_refused() -> None:
    """Which one is meant is not guessed here either; null is not given."""
    with pytest.raises(ValueError, match="group: give this or node, not both"):
        wire.NewKey(name="x", node="local", group="default")
    assert wire.NewKey(name="x", node=None, group="default").group == "default"
