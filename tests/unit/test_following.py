"""How far a node has followed the database, and since when it is known that it has not."""

from dataclasses import replace

import pytest
from tests.support.memory import World
from tests.support.waiting import FakeWaiting

from vpnkeys.domain.errors import NodeNotFound, StopPending, StoreUnavailable
from vpnkeys.domain.nodes import LOCAL
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.nodes.nodes import Following, NodeService
from vpnkeys.service.report import Reporter


def service_of(world: World, time: FakeWaiting) -> NodeService:
    """The use cases about nodes of a server in memory."""
    return NodeService(
        Reporter(world.keys.reconciler, world.keys.pool), world.keys.pool, world.clock, Board(world.store), time.now
    )


def following(nodes: NodeService) -> Following:
    """How the built-in node follows now."""
    (found,) = nodes.list()
    return found.following


def test_what_the_node_has_is_applied() -> None:
    """Each change of keys is one more revision, and the node has it when the change is done."""
    world, time = World(), FakeWaiting()
    nodes = service_of(world, time)
    seen = [following(nodes)]
    key = world.make()
    seen.append(following(nodes))
    world.keys.delete(key.id)
    seen.append(following(nodes))
    assert [one.applied for one in seen] == [one.desired for one in seen]
    assert [one.desired for one in seen] == sorted({one.desired for one in seen})
    assert {one.lag_s for one in seen} == {0.0}


def test_a_node_that_never_followed_has_nothing_applied() -> None:
    """Nothing is known of it, so nothing is said."""
    world, time = World(), FakeWaiting()
    world.make()
    world.node.running = None
    found = following(service_of(world, time))
    assert (found.applied, found.desired) == (None, world.store.revision())


def test_the_lag_counts_from_the_first_look_that_found_it() -> None:
    """And is over with the repair; drift in Xray is a lag too, though no key has changed."""
    world, time = World(), FakeWaiting()
    key = world.make()
    nodes = service_of(world, time)
    before = following(nodes)
    assert world.node.running is not None
    del world.node.running[key.tag]
    found = []
    for _ in range(3):
        found.append(following(nodes).lag_s)
        time.time += 2.5
    assert found == [0.0, 2.5, 5.0]
    behind = following(nodes)
    assert (behind.applied, behind.desired) == (None, before.desired)
    world.keys.reconciler.reconcile()
    assert following(nodes) == replace(before, lag_s=0.0)


def test_a_stop_that_waits_for_xray_is_not_applied() -> None:
    """The database has it, the node does not."""
    world, time = World(), FakeWaiting()
    key = world.make()
    nodes = service_of(world, time)
    before = following(nodes)
    world.node.answers = False
    with pytest.raises(StopPending):
        world.keys.delete(key.id)
    behind = following(nodes)
    assert behind.applied == before.applied
    assert behind.desired > before.desired


def test_a_node_is_found_by_its_id_and_its_name() -> None:
    """By nothing else; for a new key the names that there are are told."""
    world = World()
    nodes = service_of(world, FakeWaiting())
    assert nodes.find("local") == nodes.find("1") == LOCAL
    assert nodes.asked(None) == nodes.asked("local") == (LOCAL,)
    for wrong in ("", "0", "01", "Local", "far"):
        with pytest.raises(NodeNotFound):
            nodes.find(wrong)
    world.store.memory.answering = False
    with pytest.raises(StoreUnavailable):
        nodes.list()
    assert nodes.asked(None) == (LOCAL,), "what needs no database is answered without one"
