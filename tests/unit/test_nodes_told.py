"""What is told of nodes: their keys and places, what they carried, and what is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.support.fleet import FAR_PORTS, Agent, Plane, with_agent

from vpnkeys.api.convert.agents import report_of
from vpnkeys.api.convert.nodes import node_answer
from vpnkeys.domain.key import Key
from vpnkeys.domain.making import Draft
from vpnkeys.domain.nodes import LOCAL, NodeState, NodeWish
from vpnkeys.domain.traffic import Bytes
from vpnkeys.service.nodes.nodes import NodeReport, NodeService
from vpnkeys.service.report import Reporter
from vpnkeys.wire.nodes import Node


def fleet() -> tuple[Plane, Agent, NodeService]:
    """A control plane, a node elsewhere, and what is told of both."""
    plane = Plane()
    world = plane.world
    reporter = Reporter(world.keys.reconciler, world.keys.pool)
    nodes = NodeService(reporter, world.keys.pool, world.clock, plane.board, world.waiting.now)
    return plane, with_agent(plane, "far"), nodes


def make(plane: Plane, node: str) -> Key:
    """A key there."""
    plane.world.clock.advance(seconds=1)
    return plane.keys.create(Draft("x"), None, NodeWish(node=node))


def answer(report: NodeReport) -> Node:
    """What the API says."""
    return node_answer(report, "1.2.3")


def test_a_node_has_places_by_its_ports_and_by_its_most_keys() -> None:
    """As many as the smaller of the two; none are known of a node that has not joined."""
    plane, _, nodes = fleet()
    assert [one.places for one in nodes.list()] == [len(plane.world.keys.pool), len(FAR_PORTS)]
    plane.admin.change("far", lambda record: replace(record, max_keys=2))
    assert nodes.get("far").places == 2


def test_traffic_is_that_of_the_node() -> None:
    """What its keys have carried there, and nothing of other nodes."""
    plane, agent, nodes = fleet()
    here, there = make(plane, "local"), make(plane, "far")
    plane.world.node.carry(plane.world.customer(here), 1, 10)
    plane.world.enforcer.traffic.collect()
    agent.world.node.carry(agent.world.customer(agent.world.keys.get(there.id)), 2, 20)
    agent.world.enforcer.traffic.collect()
    agent.report()
    assert [one.traffic for one in nodes.list()] == [Bytes(1, 10), Bytes(2, 20)]
    assert nodes.get("far").traffic == Bytes(2, 20)
    assert answer(nodes.get("far")).traffic_bytes == 22


def test_a_report_says_how_busy_the_host_is_and_how_wrong_its_clock() -> None:
    """Nothing of one that has not said it, nor of one that is silent."""
    plane, agent, nodes = fleet()
    assert answer(nodes.get("far")).cpu_share is None
    plane.world.clock.advance(seconds=15)
    assert (answer(nodes.get("far")).cpu_share, answer(nodes.get("far")).clock_ahead_s) == (None, None)
    said = agent.says(()).model_copy(update={"cpu_share": 0.25, "now": plane.world.clock.now() + timedelta(seconds=90)})
    plane.reports.receive(agent.record, report_of(said))
    assert (answer(nodes.get("far")).cpu_share, answer(nodes.get("far")).clock_ahead_s) == (0.25, 90.0)


def test_a_key_that_is_not_there_as_it_should_be_is_named() -> None:
    """With the code of why, until it is."""
    plane, agent, nodes = fleet()
    key = make(plane, "far")
    assert answer(nodes.get("far")).failed == {}
    said = agent.says(()).model_copy(update={"failed": {key.id: "port_taken"}})
    plane.reports.receive(agent.record, report_of(said))
    assert answer(nodes.get("far")).failed == {key.id: "port_taken"}
    agent.report()
    assert answer(nodes.get("far")).failed == {}


def test_a_glance_asks_the_own_xray_nothing() -> None:
    """Monitoring looks at nodes every few seconds, and an Xray that hangs must not keep it waiting."""
    plane, _, nodes = fleet()
    plane.world.node.answers = False
    local, far = nodes.glance()
    assert (local.record.ref, local.state, far.state) == (LOCAL, NodeState.UP, NodeState.UP)
    assert far.following.lag_s == 0.0
