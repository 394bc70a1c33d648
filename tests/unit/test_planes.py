"""Two control planes on one database: what one wants, the other tells the agent, and hears what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.contract.test_store import key as some_key
from tests.support.fleet import Agent, Plane, with_agent
from tests.support.memory import CountingStore, World

from vpnkeys.api.convert.agents import report_of
from vpnkeys.domain.errors import KeyNotFound, KeysChangedMeanwhile, NodeSilent
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status
from vpnkeys.domain.making import Draft
from vpnkeys.domain.making.placing import Placing
from vpnkeys.domain.nodes import NodeWish
from vpnkeys.interfaces import ForNodes
from vpnkeys.service.idempotency import Repeat
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.nodes.leftover import LeftOver
from vpnkeys.service.nodes.wanted import Wanted

FAR = NodeWish(node="far")


def two_planes() -> tuple[Plane, Plane, Agent]:
    """Two control planes; the agent asks the first, and the second one looks when it has changed something."""
    first = Plane()
    second = Plane(World(store=CountingStore(first.world.store.memory), clock=first.world.clock))
    agent = with_agent(first, "far")

    def on_news(_node_id: int) -> None:
        agent.follow()
        second.board.refresh()

    second.board.on_news = on_news
    return first, second, agent


def has(agent: Agent, key: Key) -> bool:
    """Whether a customer gets in on the node."""
    return agent.world.node.connect(key) is not None


def test_a_key_is_made_by_one_and_confirmed_to_the_other() -> None:
    """So are its changes and its end; both know of the same, and nothing is left."""
    first, second, agent = two_planes()
    key = second.keys.create(Draft("x"), None, FAR)
    assert has(agent, key)
    assert first.keys.list() == second.keys.list() == (key,)
    off = second.keys.change(key.id, lambda _key: Draft("x", is_active=False))
    assert not has(agent, off)
    assert has(agent, first.keys.change(key.id, lambda _key: Draft("x")))
    assert second.keys.delete(key.id) == (key.id,)
    assert not has(agent, key)
    assert first.world.store.for_nodes().placings == ()
    assert not first.world.store.stops()
    with pytest.raises(KeyNotFound):
        first.keys.delete(key.id)


def test_a_look_without_a_change_is_at_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one, agents are woken whose nodes should have something else, whatever was looked at in between."""
    first, second, far = two_planes()
    with_agent(first, "near")
    far_id, looked, told = far.record.ref.id, list[int](), list[int]()
    wanted_of = Board._wanted_of

    def looking(board: Board, node_id: int, now: ForNodes, before: Wanted | None) -> Wanted:
        looked.append(node_id)
        return wanted_of(board, node_id, now, before)

    first.board.refresh()
    monkeypatch.setattr(Board, "_wanted_of", looking)
    first.board.on_news = told.append
    first.board.refresh()
    assert (looked, told) == ([], [])
    with second.world.store.write() as transaction:
        transaction.insert(some_key(9, node=far.record.ref, port=20001))
    first.board.wanted(far_id)
    first.board.refresh()
    assert told == [far_id]


def test_a_confirmation_counts_when_more_is_wanted_by_then() -> None:
    """Two wait at the same time; the agent has both when it says so, and is asked for neither again."""
    first, second, agent = two_planes()
    second.board.on_news = lambda _node_id: None
    with pytest.raises(NodeSilent):
        second.keys.create(Draft("x"), None, FAR)
    one = replace(first.keys.create(Draft("y"), None, FAR), id="other", short_id="f" * 16, port=20003)
    wanted = second.board.place(agent.record.ref.id, [one])
    agent.applied, agent.ticket = replace(agent.applied, rev="unknown here"), wanted.ticket
    agent.report()
    second.board.refresh()
    assert wanted.is_had(second.board.confirmed(agent.record.ref.id))
    agent.ticket = str(10**9)
    agent.report()
    second.board.refresh()
    found = second.board.confirmed(agent.record.ref.id)
    assert found is not None
    assert found.revision < 10**9, "no database of ours has been there"


def test_what_was_said_earlier_confirms_nothing_at_either() -> None:
    """Also at one that has not looked since: what it wants now is what it wanted then."""
    first, second, agent = two_planes()
    key = second.keys.create(Draft("x"), None, FAR)
    second.keys.change(key.id, lambda _key: Draft("x", is_active=False))
    late = report_of(agent.says(()))
    agent.plane = second
    second.keys.change(key.id, lambda _key: Draft("x"))

    def on_news(_node_id: int) -> None:
        first.reports.receive(agent.record, late)
        second.board.refresh()

    second.board.on_news = on_news
    with pytest.raises(NodeSilent):
        second.keys.change(key.id, lambda _key: Draft("x", is_active=False))
    assert has(agent, key)
    assert not any(stop.is_confirmed for stop in first.world.store.stops())


def test_what_was_confirmed_is_known_to_one_that_starts_later() -> None:
    """Neither does the agent have to say it again, nor is its ticket another one."""
    first, _, agent = two_planes()
    first.keys.create(Draft("x"), None, FAR)
    first.keys.create(Draft("elsewhere"), None, NodeWish(node="local"))
    third = Plane(World(store=CountingStore(first.world.store.memory), clock=first.world.clock)).board
    node_id = agent.record.ref.id
    third.wanted(node_id)
    found = third.confirmed(node_id)
    assert third.wanted(node_id).is_had(found)
    assert third.wanted(node_id).is_told(agent.applied.rev, agent.ticket)
    assert not third.wanted(node_id).is_told(agent.applied.rev, "none")


def test_limits_are_noted_of_what_the_other_one_was_told() -> None:
    """Within a minute; the node has stopped the key already."""
    first, second, agent = two_planes()
    key = second.keys.create(Draft("x", limits=Limits(traffic_bytes=1000)), None, FAR)
    first.world.store.is_remote = second.world.store.is_remote = True
    second.limits.look()
    agent.world.node.carry(agent.world.customer(key), 600, 600)
    agent.world.look()
    assert not has(agent, key)
    agent.report()
    second.world.clock.advance(seconds=61)
    second.limits.look()
    assert first.keys.get(key.id).status is Status.LIMITED


def test_one_request_to_both_makes_one_key() -> None:
    """While the first one waits, the second is refused; later it has the answer of the first."""
    first, second, agent = two_planes()
    repeat = Repeat.of("me", "order-1", "x")
    refused: list[type[Exception]] = []
    follow = second.board.on_news

    def on_news(node_id: int) -> None:
        if not refused:
            refused.append(KeysChangedMeanwhile)
            with pytest.raises(KeysChangedMeanwhile):
                first.keys.create(Draft("x"), repeat, FAR)
        follow(node_id)

    second.board.on_news = on_news
    key = second.keys.create(Draft("x"), repeat, FAR)
    assert first.keys.create(Draft("x"), repeat, FAR) == key
    assert first.keys.list() == (key,)
    assert has(agent, key)


def left_by_a_dead_one() -> tuple[Plane, Plane, Agent, Key]:
    """Two control planes, and a key that a third one was placing when it died."""
    first, second, agent = two_planes()
    key = second.keys.create(Draft("x"), None, FAR)
    second.keys.delete(key.id)
    first.world.store.is_remote = second.world.store.is_remote = True
    with second.world.store.write() as transaction:
        transaction.nodes.place([Placing(key, "a process that died")])
    return first, second, agent, key


def test_what_a_dead_control_plane_was_placing_is_taken_back() -> None:
    """After ten seconds of our own clock, however clocks differ; one that was only slow stores nothing."""
    first, second, agent, key = left_by_a_dead_one()
    agent.follow()
    assert has(agent, key)
    left = LeftOver(first.board, first.world.waiting.now)
    left.look()
    assert first.world.store.for_nodes().placings
    first.world.waiting.time += 11
    left.look()
    assert first.world.store.for_nodes().placings == ()
    assert not has(agent, key), "it is told at once"
    with pytest.raises(KeysChangedMeanwhile), second.world.store.write() as transaction:
        second.board.take(transaction, key.node.id, [key])


def test_whoever_has_seen_it_for_ten_seconds_takes_it_back() -> None:
    """Each server does by itself, and the second one finds nothing more."""
    first, second, agent, key = left_by_a_dead_one()
    both = [LeftOver(plane.board, first.world.waiting.now) for plane in (first, second)]
    for seconds in (0, 11):
        first.world.waiting.time += seconds
        for left in both:
            left.look()
    assert first.world.store.for_nodes().placings == ()
    assert not has(agent, key)


def test_what_an_earlier_life_was_placing_is_taken_back_at_once() -> None:
    """Where the database is a server's own, nobody else can be waiting."""
    plane = Plane()
    agent = with_agent(plane, "far")
    key = plane.keys.create(Draft("x"), None, FAR)
    plane.keys.delete(key.id)
    with plane.world.store.write() as transaction:
        transaction.nodes.place([Placing(key, "an earlier life")])
    agent.follow()
    LeftOver(plane.board, plane.world.waiting.now).look()
    assert plane.world.store.for_nodes().placings == ()
    assert not has(agent, key)


def test_a_stop_waits_for_no_start() -> None:
    """It takes the placing back, and the other one stores nothing."""
    first, second, agent = two_planes()
    key = second.keys.create(Draft("x"), None, FAR)
    off = second.keys.change(key.id, lambda _key: Draft("x", is_active=False))
    deleted: list[str] = []
    follow = second.board.on_news

    def on_news(node_id: int) -> None:
        if not deleted:
            deleted.extend(first.keys.delete(off.id))
        follow(node_id)

    second.board.on_news = on_news
    with pytest.raises(KeyNotFound):
        second.keys.change(key.id, lambda _key: Draft("x"))
    assert deleted == [key.id]
    assert first.keys.list() == ()
    assert not has(agent, key)
