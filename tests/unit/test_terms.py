"""Times that begin with the first byte: they wait for it, begin once, and end as any other."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.fleet import Agent, Plane, with_agent
from tests.support.memory import World

from vpnkeys.api.convert.agents import report_of
from vpnkeys.api.convert.keys import changed_draft
from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status, Window
from vpnkeys.domain.making import Draft
from vpnkeys.domain.nodes import NodeWish
from vpnkeys.service.limits.extending import extend
from vpnkeys.service.nodes.limits import FarLimits
from vpnkeys.wire import keys as wire
from vpnkeys.wire.agents import Report

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
    (longer,) = extend(world.keys, [key.id], timedelta(days=5))
    assert longer.limits == Limits(expires_after_s=35 * DAY_S)
    world.node.carry(world.customer(key), 1, 0)
    world.look()
    (later,) = extend(world.keys, [key.id], timedelta(days=5))
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


def advance(agent: Agent, **by: float) -> None:
    """Let time pass on a node and on its control plane."""
    agent.plane.world.clock.advance(**by)
    agent.world.clock.advance(**by)


def used_far(limits: Limits) -> tuple[Agent, Key]:
    """A key on a node elsewhere whose first byte has just been carried, which its control plane has not heard."""
    agent = with_agent(Plane(), "far")
    key = agent.plane.keys.create(Draft("x", limits=limits), None, NodeWish(node="far"))
    agent.world.node.carry(agent.world.customer(key), 1000, 0)
    agent.world.look()
    return agent, key


@pytest.mark.parametrize("behind_s", [0, 3600])
def test_a_time_begins_on_a_node_elsewhere_when_its_byte_is_carried(behind_s: int) -> None:
    """Though the control plane hears of it days later, from a node whose clock is wrong: it does not begin again."""
    agent, key = used_far(MONTH)
    began, end = agent.plane.world.clock.now(), agent.world.keys.get(key.id).limits.expires_at
    advance(agent, days=31)
    agent.world.look()
    assert agent.world.status(key) is Status.EXPIRED
    agent.plane.world.clock.advance(seconds=behind_s)
    agent.report()
    agent.plane.limits.look()
    agent.plane.limits.look()
    far = agent.plane.keys.get(key.id)
    assert (far.limits.expires_at, far.status) == (
        began + timedelta(days=30, seconds=behind_s),
        Status.EXPIRED,
    )
    agent.follow()
    agent.world.look()
    assert (agent.world.status(key), agent.world.node.connect(key)) == (Status.EXPIRED, None)
    assert end == began + timedelta(days=30)
    assert agent.says(()).began == {}


def test_a_time_that_its_control_plane_did_not_store_is_said_again() -> None:
    """Until it says so itself; what the node has meanwhile stays, also with other limits."""
    agent, key = used_far(MONTH)
    began = agent.plane.world.clock.now()
    advance(agent, days=3)
    shorter = replace(MONTH, max_devices=3, expires_after_s=20 * DAY_S)
    agent.plane.keys.change(key.id, lambda one: Draft(one.name, one.note, shorter, True))
    assert agent.world.keys.get(key.id).limits.expires_at == began + timedelta(days=20)
    agent.report()
    agent.plane.limits = FarLimits(agent.plane.board, agent.plane.world.clock)  # it ended before it had looked
    agent.plane.reports.on_traffic = agent.plane.limits.note_traffic
    advance(agent, seconds=10)
    agent.report()
    agent.plane.limits.look()
    assert agent.plane.keys.get(key.id).limits.expires_at == began + timedelta(days=20)


def test_an_agent_that_says_no_beginning_has_that_of_its_sample() -> None:
    """As those of earlier versions do."""
    agent, key = used_far(MONTH)
    began = agent.plane.world.clock.now()
    advance(agent, days=3)
    for part in agent.parts():
        said = agent.says(part).model_dump(mode="json", exclude={"began"})
        agent.plane.reports.receive(agent.record, report_of(Report.model_validate(said)))
    agent.plane.limits.look()
    assert agent.plane.keys.get(key.id).limits.expires_at == began + timedelta(days=30)


def test_a_node_says_no_beginning_of_a_key_that_lives_elsewhere() -> None:
    """Each has its own keys to speak of."""
    agent, key = used_far(MONTH)
    other = with_agent(agent.plane, "other")
    own = agent.plane.world.clock.now()
    advance(agent, days=3)
    said = other.says(()).model_copy(update={"began": {key.account: own - timedelta(days=30)}, "now": own})
    agent.plane.reports.receive(other.record, report_of(said))
    agent.report()
    agent.plane.limits.look()
    assert agent.plane.keys.get(key.id).limits.expires_at == own + timedelta(days=30)
