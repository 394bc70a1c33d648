"""Another agent for a node: a machine that takes its place with all links, and a token that takes another's place."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.support.fleet import Agent, Plane, with_agent
from tests.support.memory import World

from vpnkeys.agent.membership import Membership, load_membership
from vpnkeys.api.convert.agents import joined_record, report_of
from vpnkeys.domain.errors import InvalidChoice
from vpnkeys.domain.key import Key
from vpnkeys.domain.making import Draft
from vpnkeys.domain.nodes import NodeRecord, NodeRef, NodeState, NodeWish
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reality import KeyPair
from vpnkeys.service.nodes.reports import ReportRefused
from vpnkeys.wire.agents import JoinRequest

OLD, NEW = KeyPair.new(), KeyPair.new()


def asking(pair: KeyPair, address: str = "198.51.100.7", ports: str = "20001-20003", **fields: str) -> JoinRequest:
    """What an agent says of itself when it joins."""
    said = {"public_key": pair.public_key, "private_key": pair.private_key, **fields}
    return JoinRequest(token="t", address=address, port_range=ports, **said)


def joined(plane: Plane, token: str, asked: JoinRequest) -> tuple[NodeRecord, str]:
    """The node as which an agent has joined, and the agent's token."""
    found = plane.admin.join(token, partial(joined_record, asked))
    assert found is not None
    return found


def fleet() -> tuple[Plane, Agent, str, Key]:
    """A control plane, a node whose key pair it knows, the token of its agent, and a key there."""
    plane = Plane()
    _, _, token = plane.admin.add(NodeRecord(NodeRef(0, "far"), "default", 1, None))
    record, own = joined(plane, token, asking(OLD))
    agent = listening(plane, record)
    return plane, agent, own, plane.keys.create(Draft("x"), None, NodeWish(node="far"))


def listening(plane: Plane, record: NodeRecord) -> Agent:
    """An agent that does at once what is news for it."""
    agent = Agent(plane, record)
    plane.board.on_news = lambda _node_id: agent.follow()
    agent.follow()
    return agent


def test_a_machine_takes_a_node_s_place_with_all_links() -> None:
    """Its address, ports and key pair stay what they were; the former agent's token opens nothing any more."""
    plane, old, own, key = fleet()
    link = plane.keys.link(key)
    assert f"pbk={OLD.public_key}&" in link
    _, _, token = plane.admin.replace("far")
    assert plane.admin.identify(own) is not None, "until another has joined"
    old.report()
    record, new_own = joined(plane, token, asking(NEW, "192.0.2.200", "30001-30009"))
    assert (record.private_key, record.public_key) == (OLD.private_key, OLD.public_key)
    assert (record.address, record.ports) == ("198.51.100.7", PortRange(20001, 20003))
    assert (plane.admin.identify(own), plane.admin.identify(new_own)) == (None, record)
    with pytest.raises(ReportRefused, match="another agent"):
        old.report()
    new = listening(plane, record)
    assert new.world.node.connect(key) is not None
    assert plane.keys.link(plane.keys.get(key.id)) == link
    assert plane.keys.delete(key.id) == (key.id,)
    assert OLD.private_key not in repr((record, asking(OLD)))


def test_a_lost_node_can_be_replaced() -> None:
    """It is up again then; one that gets no keys stays so."""
    plane, _, own, key = fleet()
    plane.admin.change("far", lambda node: replace(node, state=NodeState.LOST))
    record, _ = joined(plane, plane.admin.replace("far")[2], asking(NEW))
    assert (record.state, plane.admin.identify(own)) == (NodeState.UP, None)
    assert listening(plane, record).world.node.connect(key) is not None
    plane.admin.change("far", lambda node: replace(node, state=NodeState.DRAINED))
    record, _ = joined(plane, plane.admin.replace("far")[2], asking(NEW))
    assert record.state is NodeState.DRAINED


def test_only_the_last_command_works() -> None:
    """Once; for a node that has not joined yet it is a new one of `add`."""
    plane, _, own, _ = fleet()
    first, second = (plane.admin.replace("far")[2] for _ in range(2))
    assert plane.admin.join(first, lambda node: node) is None
    assert plane.admin.identify(own) is not None
    joined(plane, second, asking(NEW))
    assert plane.admin.join(second, lambda node: node) is None
    plane.admin.add(NodeRecord(NodeRef(0, "late"), "default", 1, None))
    record, _ = joined(plane, plane.admin.replace("late")[2], asking(NEW))
    assert record.public_key == NEW.public_key


def test_what_cannot_be_replaced_is_refused() -> None:
    """The built-in node, one whose key pair is not known here, and an agent whose pair is none."""
    plane = Plane()
    with_agent(plane, "older")
    for node in ("local", "older"):
        with pytest.raises(InvalidChoice):
            plane.admin.replace(node)
    _, _, token = plane.admin.add(NodeRecord(NodeRef(0, "far"), "default", 1, None))
    for wrong in (NEW.private_key, "x"):
        with pytest.raises(InvalidChoice, match="does not belong"):
            plane.admin.join(token, partial(joined_record, asking(OLD, private_key=wrong)))
    joined(plane, token, asking(OLD, private_key=""))


def test_a_token_is_renewed_after_a_month() -> None:
    """Both work until the agent reports with the new one; from then on the old one opens nothing."""
    plane, agent, own, _ = fleet()
    node = plane.admin.identify(own)
    assert node is not None
    plane.world.clock.advance(days=29, hours=23)
    assert not plane.admin.is_old(node)
    plane.world.clock.advance(hours=1)
    assert plane.admin.is_old(node)
    unused, token = (plane.admin.renew(node) for _ in range(2))
    assert plane.admin.identify(unused) is None, "its answer was lost"
    agent.report()
    assert (plane.admin.identify(own) is None, plane.admin.identify(token) is None) == (False, False)
    agent.record = plane.admin.identify(token) or agent.record
    for part in agent.parts():
        plane.reports.receive(agent.record, report_of(agent.says(part)))
    now = plane.admin.identify(token)
    assert now is not None
    assert (plane.admin.identify(own), plane.admin.is_old(now)) == (None, False)
    with pytest.raises(ReportRefused):
        plane.admin.renew(node)


def test_an_agent_that_ends_at_any_step_is_known_afterwards(tmp_path: Path) -> None:
    """Whatever it has read from its disk is a token that works."""
    for steps in range(4):
        plane, agent, own, _ = fleet()
        membership = Membership("https://192.0.2.1", "far", own, None, "20001-20003")
        membership.save(tmp_path)
        node = plane.admin.identify(own)
        assert node is not None
        plane.world.clock.advance(days=31)
        token = plane.admin.renew(node) if steps > 0 else ""
        if steps > 1:
            membership.with_tokens((token, own)).save(tmp_path)
        if steps > 2:
            agent.record = plane.admin.identify(token) or agent.record
            agent.report()
        kept = load_membership(tmp_path)
        assert kept is not None
        found = plane.admin.identify(kept.token)
        assert found is not None, steps
        agent.record, agent.world = found, World()
        agent.report()


def test_an_agent_without_a_known_age_is_asked_to_renew() -> None:
    """It has joined before that was noted."""
    plane, _, own, _ = fleet()
    record = plane.admin.identify(own)
    assert record is not None
    assert plane.admin.is_old(replace(record, token_since=None))
