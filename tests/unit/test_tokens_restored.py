"""A backup of the control plane from before an agent's token was renewed is restored: the agent is heard of again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.fleet import Plane
from tests.support.memory import World

from vpnkeys.agent.agent import Agent
from vpnkeys.agent.membership import DesiredFile, Membership, load_membership
from vpnkeys.api.convert.agents import received_answer, report_of
from vpnkeys.client import Unauthorized
from vpnkeys.clock import SystemClock
from vpnkeys.domain.nodes import NodeRecord, NodeState
from vpnkeys.wire.agents import Received, Report


@dataclass
class Asked:
    """A control plane as an agent with a token asks it."""

    plane: Plane
    token: str
    used: list[str] = field(default_factory=list)

    def _node(self) -> NodeRecord:
        self.used.append(self.token)
        node = self.plane.admin.identify(self.token)
        if node is None:
            raise Unauthorized(401, "unauthorized", "The token is wrong.")
        return node

    def desired(self, _rev: str, _ticket: str) -> None:
        """No news."""
        self._node()

    def report(self, report: Report) -> Received:
        """Stored."""
        node = self._node()
        wanted = self.plane.reports.receive(node, report_of(report))
        return received_answer(wanted, report, token_is_old=self.plane.admin.is_old(node))

    def new_token(self) -> str:
        """The next."""
        return self.plane.admin.renew(self._node())


@dataclass
class Node:
    """A node whose agent keeps its tokens on a disk, and can be started again."""

    plane: Plane
    disk: Path

    def __post_init__(self) -> None:
        """Join, and start."""
        _, token = self.plane.add("far")
        Membership("https://192.0.2.1", "far", token, None, "20001-20003").save(self.disk)
        self.start()

    def start(self) -> None:
        """Start with what is on the disk."""
        kept = load_membership(self.disk)
        assert kept is not None
        self.world, self.asked = World(), Asked(self.plane, kept.token)
        parts: dict[str, Any] = {
            "keys": self.world.keys,
            "traffic": self.world.enforcer.traffic,
            "node": self.world.node,
        }
        parts["clock"] = SystemClock()
        reconciler, overview = self.world.keys.reconciler, SimpleNamespace(cpu_share=0.5)
        server = SimpleNamespace(**parts, reconciler=reconciler, overview=overview, xray_version="26")
        desired = DesiredFile(self.disk / "desired.json")
        self.agent = Agent(cast("Any", server), cast("Any", self.asked), desired, kept.tokens, self.keep)

    def keep(self, tokens: tuple[str, ...]) -> None:
        """Put tokens on the disk."""
        kept = load_membership(self.disk)
        assert kept is not None
        kept.with_tokens(tokens).save(self.disk)

    def renews(self) -> str:
        """Its token after a month, with which it has reported."""
        self.plane.world.clock.advance(days=30)
        self.agent.report()
        self.agent.report()
        return self.asked.used[-1]

    def record(self) -> NodeRecord:
        """As the control plane has it."""
        return next(one for one in self.plane.world.store.nodes() if one.ref.name == "far")

    def restore(self, record: NodeRecord) -> None:
        """Restore a backup of it."""
        with self.plane.world.store.write() as transaction:
            transaction.nodes.put(record)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node that has joined."""
    return Node(Plane(), tmp_path)


@pytest.mark.parametrize("is_started_again", [False, True])
@pytest.mark.parametrize("renewals", [1, 2])
def test_a_restored_control_plane_hears_of_the_agent_again(node: Node, renewals: int, is_started_again: bool) -> None:
    """By a former token, with one request for each that is not known; then it is renewed by the usual rule."""
    first, backup = node.asked.token, node.record()
    renewed = [node.renews() for _ in range(renewals)]
    assert node.plane.admin.identify(first) is None, "a former token opens nothing"
    node.restore(backup)
    if is_started_again:
        node.start()
    node.asked.used.clear()
    for _ in range(renewals):
        with pytest.raises(Unauthorized):
            node.agent.report()
    node.agent.report()
    assert node.asked.used == [*reversed(renewed), first, first], "and renewed with it, as it is old"
    node.agent.report()
    last = node.asked.used[-1]
    assert last not in {first, *renewed}
    assert node.record().next_digest == ""
    assert [node.plane.admin.identify(one) for one in (first, *renewed)] == [None] * (renewals + 1)
    kept = load_membership(node.disk)
    assert kept is not None
    assert kept.tokens == (last, first, *reversed(renewed))[:3]


def test_a_restore_that_is_undone_is_one_more_restore(node: Node) -> None:
    """The token from before it is still there."""
    backup = node.record()
    node.renews()
    present = node.record()
    node.restore(backup)
    with pytest.raises(Unauthorized):
        node.agent.report()
    node.agent.report()
    node.agent.report()
    node.restore(present)
    for _ in range(2):
        with pytest.raises(Unauthorized):
            node.agent.report()
    node.agent.report()


def test_all_counters_are_said_again(node: Node) -> None:
    """What the control plane had stored since the backup may be of a life that has ended: it changes no more."""
    stored = node.agent._stored
    backup = node.record()
    node.renews()
    assert node.agent._stored is stored
    node.restore(backup)
    with pytest.raises(Unauthorized):
        node.agent.report()
    assert node.agent._stored is not stored


def test_two_requests_at_once_go_on_to_one_other_token(node: Node) -> None:
    """Both were sent with the present one; the second refusal says nothing of the former."""
    first, backup = node.asked.token, node.record()
    node.renews()
    node.restore(backup)
    with pytest.raises(Unauthorized), node.agent._known(), node.agent._known():  # the refusal is seen twice
        node.asked.new_token()
    assert node.asked.token == first


def test_an_agent_that_was_given_up_goes_through_its_tokens(node: Node) -> None:
    """One request at a step, so that the workers' back-off bounds their pace; none opens anything."""
    first = node.asked.token
    second = node.renews()
    node.plane.admin.change("far", lambda record: replace(record, state=NodeState.LOST))
    node.asked.used.clear()
    for _ in range(4):
        with pytest.raises(Unauthorized):
            node.agent.report()
    assert node.asked.used == [second, first, second, first]
