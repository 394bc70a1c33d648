"""The agent of a node: what it was last wanted to have holds without the control plane, and is on its disk first."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.fleet import Plane, with_agent
from tests.support.memory import World

from vpnkeys.agent.agent import Agent
from vpnkeys.agent.membership import DesiredFile, Membership, load_membership
from vpnkeys.api.convert.agents import desired_answer
from vpnkeys.client import Unavailable
from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.making import Draft
from vpnkeys.domain.nodes import NodeWish
from vpnkeys.wire.agents import Desired, Received, Report


@dataclass
class SilentPlane:
    """A control plane that says what it is told to, or nothing."""

    answers: list[Desired] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)

    def desired(self, _rev: str) -> Desired | None:
        """The next answer."""
        if not self.answers:
            raise Unavailable(None, "unreachable", "The server cannot be reached.")
        return self.answers.pop(0)

    def report(self, report: Report) -> Received:
        """Taken."""
        self.reports.append(report)
        return Received(rev="")


def agent_of(world: World, plane: SilentPlane, path: Path) -> Agent:
    """An agent of a server in memory, whose workers a test steps."""
    traffic, reconciler = world.enforcer.traffic, world.keys.reconciler
    parts: dict[str, Any] = {"keys": world.keys, "traffic": traffic, "reconciler": reconciler, "node": world.node}
    server = SimpleNamespace(**parts, xray_version="26", start=lambda: None)
    agent = Agent(cast("Any", server), cast("Any", plane), DesiredFile(path / "desired.json"))
    agent.following.start = agent.reporting.start = lambda: None  # type: ignore[method-assign]
    agent.start()
    return agent


@pytest.fixture
def wanted() -> tuple[Desired, Key]:
    """A node with one key."""
    plane = Plane()
    node = with_agent(plane, "far")
    key = plane.keys.create(Draft("x"), None, NodeWish(node="far"))
    return desired_answer(plane.board.wanted(node.record.ref.id)), key


def test_it_is_on_the_disk_before_it_is_applied(tmp_path: Path, wanted: tuple[Desired, Key]) -> None:
    """And applied from there by the next start, though the control plane is silent; then it is reported."""
    desired, key = wanted
    world = World()
    first = agent_of(world, SilentPlane([desired]), tmp_path)
    first.follow()
    assert DesiredFile(tmp_path / "desired.json").read() == desired
    assert world.keys.list() == ()
    plane = SilentPlane()
    second = agent_of(world, plane, tmp_path)
    with pytest.raises(Unavailable):
        second.follow()
    assert world.node.connect(key) is not None
    second.report()
    assert (plane.reports[0].rev, plane.reports[0].xray_version) == (desired.rev, "26")


def test_it_says_nothing_that_is_not_so(tmp_path: Path, wanted: tuple[Desired, Key]) -> None:
    """While Xray does not answer, nothing is confirmed; it is once it does."""
    desired, key = wanted
    world, plane = World(), SilentPlane([desired])
    agent = agent_of(world, plane, tmp_path)
    agent.follow()
    world.node.answers = False
    with pytest.raises(XrayUnavailable):
        agent.follow()
    agent.report()
    assert plane.reports[-1].rev == ""
    world.node.answers = True
    world.keys.reconciler.reconcile()
    with pytest.raises(Unavailable):
        agent.follow()
    agent.report()
    assert plane.reports[-1].rev == desired.rev
    assert world.node.connect(key) is not None


def test_a_membership_is_its_owner_s_alone(tmp_path: Path) -> None:
    """It is read as it was written; a damaged one says what to do."""
    assert load_membership(tmp_path) is None
    made = Membership("https://192.0.2.1:8000", "far", "vpnk_node2_secret", None, "20001-20100")
    made.save(tmp_path)
    assert load_membership(tmp_path) == made
    assert (tmp_path / "agent.json").stat().st_mode & 0o777 == 0o600
    assert "secret" not in repr(made)
    (tmp_path / "agent.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="join with a new token"):
        load_membership(tmp_path)
    (tmp_path / "desired.json").write_text('{"rev": 1}', encoding="utf-8")
    assert DesiredFile(tmp_path / "desired.json").read() is None
