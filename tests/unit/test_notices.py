"""Webhooks are notified of 80 and 95 % of a traffic limit, once in each window."""

import json
from dataclasses import replace

import pytest
from tests.support.fleet import Agent, Plane, with_agent
from tests.support.memory import World

from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status, Window
from vpnkeys.domain.making import Draft
from vpnkeys.domain.nodes import NodeWish
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.domain.webhook import new_webhook
from vpnkeys.service.limits.enforcer import Enforcer
from vpnkeys.service.nodes.limits import FarLimits

HOOK = "https://hooks.example/vpnkeys"


@pytest.fixture
def world() -> World:
    """A server with a webhook, and without keys."""
    made = World()
    with made.store.write() as transaction:
        transaction.outbox.put_webhook(new_webhook(HOOK, (), made.clock.now()))
    return made


@pytest.fixture
def far(world: World) -> tuple[Agent, Key]:
    """A node elsewhere, and a key on it that may use 10,000 bytes."""
    agent = with_agent(Plane(world), "far")
    limits = Limits(traffic_bytes=10_000)
    return agent, agent.plane.keys.create(Draft("x", limits=limits), None, NodeWish(node="far"))


def report(agent: Agent, key: Key, count: int) -> None:
    """Let bytes pass on a node, which reports them, and its control plane look."""
    agent.world.node.carry(agent.world.customer(key), count, 0)
    agent.world.enforcer.traffic.collect()
    agent.report()
    agent.plane.limits.look()


def told(world: World) -> list[tuple[str, int, int | None]]:
    """What was sent about limits: key, percent, bytes left; oldest first."""
    (hook,) = world.store.webhooks()
    bodies = [json.loads(delivery.body) for delivery in reversed(world.store.deliveries(hook.id, 1000))]
    data = [body["data"] for body in bodies if body["event"] == "key.limit_near"]
    return [(one["id"], one["percent"], one["remaining_bytes"]) for one in data]


def use(world: World, key: Key, count: int) -> None:
    """Let bytes pass, and the enforcer look, several times."""
    world.node.carry(world.customer(key), count, 0)
    for _ in range(3):
        world.look()


def test_each_share_is_told_once(world: World) -> None:
    """However often it is looked at, also by a service that has just been started."""
    key = world.make(Limits(traffic_bytes=1000))
    use(world, key, 799)
    assert told(world) == []
    use(world, key, 1)
    assert told(world) == [(key.id, 80, 200)]
    world.enforcer = Enforcer(world.keys, world.enforcer.traffic, world.waiting.now)
    use(world, key, 149)
    assert told(world) == [(key.id, 80, 200)]
    use(world, key, 2)
    assert told(world) == [(key.id, 80, 200), (key.id, 95, 49)]
    use(world, key, 49)
    assert world.status(key) is Status.LIMITED
    assert len(told(world)) == 2


def test_both_shares_at_once_are_both_told_and_what_is_used_up_is_not_near(world: World) -> None:
    """`key.limited` says that."""
    fast, faster = world.make(Limits(traffic_bytes=1000)), world.make(Limits(traffic_bytes=1000))
    use(world, fast, 960)
    use(world, faster, 1000)
    assert told(world) == [(fast.id, 80, 40), (fast.id, 95, 40)]


@pytest.mark.parametrize("window", ["day", "week", "month", "month@6"])
def test_each_window_has_its_own(world: World, window: str) -> None:
    """The next one begins at zero, also when nobody looks at its beginning."""
    key = world.make(Limits(traffic_bytes=1000, traffic_window=Window(window)))
    use(world, key, 850)
    world.clock.time = key.limits.traffic_window.resets_at(world.clock.now()) or world.clock.time
    use(world, key, 900)
    assert told(world) == [(key.id, 80, 150), (key.id, 80, 100)]


def test_a_rolling_window_is_told_of_again_only_when_it_fell_below(world: World) -> None:
    """Each midnight would be too often for a customer who stays near."""
    key = world.make(Limits(traffic_bytes=1000, traffic_window=Window("2d")))
    use(world, key, 810)
    world.clock.advance(days=1)
    use(world, key, 10)
    assert told(world) == [(key.id, 80, 190)]
    world.clock.advance(days=1)
    use(world, key, 0)
    use(world, key, 800)
    assert told(world) == [(key.id, 80, 190), (key.id, 80, 190)]


def test_a_reset_and_a_higher_limit_begin_anew(world: World) -> None:
    """What was bought in addition can be near its end again."""
    key = world.make(Limits(traffic_bytes=1000))
    use(world, key, 900)
    world.enforcer.traffic.reset(key)
    use(world, key, 0)
    use(world, key, 800)
    world.limit(key, replace(key.limits, traffic_bytes=2000))
    use(world, key, 0)
    use(world, key, 800)
    assert [(percent, left) for _, percent, left in told(world)] == [(80, 100), (80, 200), (80, 400)]


def test_many_keys_are_one_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when what is known of them is too old."""
    keys = [world.make(Limits(traffic_bytes=1000)) for _ in range(4)]
    reads: list[int] = []
    read = world.store.used_bytes

    def counted(_: object, since: dict[str, object], fresh: Samples | None = None) -> object:
        reads.append(len(since))
        return read(since, fresh)  # type: ignore[arg-type]

    world.look()
    monkeypatch.setattr(type(world.store), "used_bytes", counted)
    world.enforcer.traffic.usage.now = lambda: float("inf")
    for key in keys:
        world.enforcer.traffic.usage.forget(key)
    world.look()
    assert reads == [4]


def test_a_notice_that_is_not_stored_is_told_later(world: World) -> None:
    """Once, and not before the database takes it."""
    key = world.make(Limits(traffic_bytes=1000))
    world.look()
    world.node.carry(world.customer(key), 810, 0)
    world.store.memory.is_full = True
    world.look()
    world.store.memory.is_full = False
    world.clock.advance(seconds=2)
    for _ in range(3):
        world.look()
    assert told(world) == [(key.id, 80, 190)]


def test_a_key_that_is_gone_is_not_told_of(world: World) -> None:
    """Nor one without a limit."""
    key, free = world.make(Limits(traffic_bytes=1000)), world.make()
    world.node.carry(world.customer(key), 810, 0)
    world.node.carry(world.customer(free), 810, 0)
    world.keys.delete(key.id)
    world.look()
    assert told(world) == []


def test_a_key_elsewhere_is_told_of_too(world: World, far: tuple[Agent, Key]) -> None:
    """Once at each share, by the numbers that its node reports."""
    agent, key = far
    agent.plane.limits.look()
    report(agent, key, 7900)
    assert told(world) == []
    report(agent, key, 200)
    report(agent, key, 1400)
    report(agent, key, 1)
    assert told(world) == [(key.id, 80, 1900), (key.id, 95, 500)]


def test_of_several_servers_one_tells_of_a_key_elsewhere(world: World, far: tuple[Agent, Key]) -> None:
    """Each may take the node's reports, and what was read a while ago takes no newer notice back."""
    agent, key = far
    other = FarLimits(agent.plane.board, world.clock)
    other.look()
    report(agent, key, 8100)
    for seconds in (0, 61):
        world.clock.advance(seconds=seconds)
        other._unread[key.account] = None
        other.look()
    report(agent, key, 1500)
    other.note_traffic({key.account: Bytes(0, 0)}, {})
    other.look()
    report(agent, key, 1)
    assert told(world) == [(key.id, 80, 1900), (key.id, 95, 400)]


def test_a_notice_of_a_key_elsewhere_that_is_not_stored_is_told_later(world: World, far: tuple[Agent, Key]) -> None:
    """Limits strike all the same."""
    agent, key = far
    agent.plane.limits.look()
    agent.world.node.carry(agent.world.customer(key), 8100, 0)
    agent.world.enforcer.traffic.collect()
    agent.report()
    world.store.memory.is_full = True
    agent.plane.limits.look()
    world.store.memory.is_full = False
    assert told(world) == []
    agent.plane.limits.look()
    assert told(world) == [(key.id, 80, 1900)]
