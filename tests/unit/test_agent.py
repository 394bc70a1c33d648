"""The agent of a node: what it was last wanted to have holds without the control plane, and is on its disk first."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.fleet import Plane, with_agent
from tests.support.memory import World

from vpnkeys.agent.agent import Agent
from vpnkeys.agent.following import Applied
from vpnkeys.agent.membership import DesiredFile, Kept, Membership, load_membership
from vpnkeys.api.convert.agents import desired_answer, report_of
from vpnkeys.client import Unavailable
from vpnkeys.domain.errors import StopPending, XrayUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Window
from vpnkeys.domain.making import Draft
from vpnkeys.domain.nodes import NodeWish
from vpnkeys.wire.agents import Desired, Received, Report


@dataclass
class SilentPlane:
    """A control plane that says what it is told to, or nothing."""

    answers: list[Desired] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    received: Received = field(default_factory=lambda: Received(rev=""))
    kept: list[tuple[str, ...]] = field(default_factory=list)
    token: str = "present"
    tokens: list[str] = field(default_factory=list)

    def desired(self, _rev: str, _ticket: str) -> Desired | None:
        """The next answer."""
        if not self.answers:
            raise Unavailable(None, "unreachable", "The server cannot be reached.")
        return self.answers.pop(0)

    def report(self, report: Report) -> Received:
        """Taken."""
        self.reports.append(report)
        self.tokens.append(self.token)
        return self.received.model_copy(update={"token_is_old": self.token == "old"})

    def new_token(self) -> str:
        """Another one."""
        return "new"


def agent_of(world: World, plane: SilentPlane, path: Path) -> Agent:
    """An agent of a server in memory, whose workers a test steps."""
    traffic, reconciler = world.enforcer.traffic, world.keys.reconciler
    parts: dict[str, Any] = {"keys": world.keys, "traffic": traffic, "reconciler": reconciler, "node": world.node}
    overview = SimpleNamespace(cpu_share=0.5)
    parts["clock"] = world.clock
    server = SimpleNamespace(**parts, overview=overview, xray_version="26", start=lambda: None)
    desired = DesiredFile(path / "desired.json")
    agent = Agent(cast("Any", server), cast("Any", plane), desired, (plane.token,), plane.kept.append)
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
    stored = DesiredFile(tmp_path / "desired.json").read()
    assert stored is not None
    assert (stored.rev, stored.keys) == (desired.rev, desired.keys)
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


class _FullDisk(DesiredFile):
    """Takes nothing while the list of errors is not empty."""

    errors: list[OSError] = []  # noqa: RUF012 - emptied by the test

    def write(self, desired: Kept) -> None:
        """Fail, or write."""
        if self.errors:
            raise self.errors[0]
        DesiredFile.write(self, desired)


def test_a_disk_that_takes_nothing_delays_no_stop(tmp_path: Path, wanted: tuple[Desired, Key]) -> None:
    """It is carried out, and confirmed once it is on the disk; what is wanted meanwhile is heard too."""
    desired, key = wanted
    world, plane = World(), SilentPlane([desired])
    agent = agent_of(world, plane, tmp_path)
    agent.follow()
    with pytest.raises(Unavailable):
        agent.follow()
    assert world.node.connect(key) is not None
    agent.desired = _FullDisk(tmp_path / "desired.json")
    _FullDisk.errors.append(OSError(30, "Read-only file system"))
    plane.answers.append(desired.model_copy(update={"keys": (), "rev": "none of them"}))
    for _ in range(3):
        with pytest.raises(OSError, match="Read-only"):
            agent.follow()
    assert world.node.connect(key) is None
    agent.report()
    assert plane.reports[-1].rev == ""
    _FullDisk.errors.clear()
    with pytest.raises(Unavailable):
        agent.follow()
    agent.report()
    assert plane.reports[-1].rev == "none of them"
    stored = DesiredFile(tmp_path / "desired.json").read()
    assert stored is not None
    assert stored.keys == ()


def test_a_key_whose_port_was_taken_is_tried_again(tmp_path: Path, wanted: tuple[Desired, Key]) -> None:
    """Each time that the agent has waited for news; what works meanwhile stays confirmed."""
    desired, key = wanted
    world, plane = World(), SilentPlane([desired])
    agent = agent_of(world, plane, tmp_path)
    world.node.occupied = {key.port}
    agent.follow()
    for _ in range(2):
        with pytest.raises(Unavailable):
            agent.follow()
        agent.report()
        assert (plane.reports[-1].rev, plane.reports[-1].failed) == (desired.rev, {key.id: "port_taken"})
    world.node.occupied = set()
    with pytest.raises(Unavailable):
        agent.follow()
    agent.report()
    assert plane.reports[-1].failed == {}
    assert world.node.connect(key) is not None


@pytest.mark.parametrize("ahead_s", [3600, -3600, 2])
def test_keys_expire_by_the_control_plane_s_clock(tmp_path: Path, ahead_s: int) -> None:
    """Whatever the node's own says, also after a restart without the control plane, and when it was set right."""
    there = Plane()
    node = with_agent(there, "far")
    expires_at = there.world.clock.now() + timedelta(minutes=30)
    key = there.keys.create(Draft("x", limits=Limits(expires_at=expires_at)), None, NodeWish(node="far"))
    desired = desired_answer(there.board.wanted(node.record.ref.id), now=there.world.clock.now())
    world, plane = World(), SilentPlane([desired])
    world.clock.advance(seconds=ahead_s)
    first = agent_of(world, plane, tmp_path)
    first.follow()
    second = agent_of(world, SilentPlane(), tmp_path)
    with pytest.raises(Unavailable):
        second.follow()
    assert world.node.connect(key) is not None
    world.clock.advance(seconds=29 * 60)
    world.look()
    assert world.node.connect(key) is not None
    world.clock.advance(seconds=2 * 60)
    world.look()
    assert world.node.connect(key) is None
    world.clock.advance(seconds=-ahead_s - 20 * 60)  # set right, eleven minutes after the beginning
    second.plane = cast(
        "Any", SilentPlane(received=Received(rev="", now=there.world.clock.now() + timedelta(minutes=11)))
    )
    second.report()
    with pytest.raises(Unavailable):
        second.follow()
    world.look()
    assert world.node.connect(key) is not None


@pytest.mark.parametrize("ahead_s", [3600, -3600])
def test_windows_of_traffic_begin_by_the_control_plane_s_clock(tmp_path: Path, ahead_s: int) -> None:
    """Not an hour sooner or later, when the customer has been told another time; also after a restart."""
    there = Plane()
    there.world.clock.time = there.world.clock.time.replace(hour=22)
    node = with_agent(there, "far")
    limits = Limits(traffic_bytes=1000, traffic_window=Window.DAY)
    key = there.keys.create(Draft("x", limits=limits), None, NodeWish(node="far"))
    desired = desired_answer(there.board.wanted(node.record.ref.id), now=there.world.clock.now())
    world = World()
    world.clock.time = there.world.clock.time + timedelta(seconds=ahead_s)
    agent = agent_of(world, SilentPlane([desired]), tmp_path)
    for _ in range(2):
        with suppress(Unavailable):
            agent.follow()
    world.node.carry(world.customer(key), 1000, 0)
    world.look()
    assert world.node.connect(key) is None
    world.clock.ahead = timedelta()
    with suppress(Unavailable):
        agent_of(world, SilentPlane(), tmp_path).follow()
    for minutes, is_open in ((119, False), (2, True)):
        world.clock.advance(minutes=minutes)
        world.look()
        assert (world.node.connect(key) is not None) == is_open


@pytest.mark.parametrize("ahead_s", [3600, -3600])
def test_a_report_says_how_wrong_a_clock_is(tmp_path: Path, ahead_s: int) -> None:
    """All times in it are by the same wrong clock, which its control plane converts."""
    there = Plane()
    node = with_agent(there, "far")
    key = there.keys.create(Draft("x", limits=Limits(expires_after_s=86400)), None, NodeWish(node="far"))
    desired = desired_answer(there.board.wanted(node.record.ref.id), now=there.world.clock.now())
    world, plane = World(), SilentPlane([desired])
    world.clock.advance(seconds=ahead_s)
    agent = agent_of(world, plane, tmp_path)
    for _ in range(2):
        with suppress(Unavailable):
            agent.follow()
    world.node.carry(world.customer(key), 1000, 0)
    world.look()
    used_at = world.clock.time
    world.clock.advance(minutes=5)
    agent.report()
    said = plane.reports[-1]
    assert (said.now, said.began) == (used_at + timedelta(minutes=5), {key.account: used_at})
    assert [life.sampled_at for life in said.lives if life.usage] == [used_at]
    there.world.clock.advance(minutes=5)
    there.reports.receive(node.record, report_of(said))
    seen = there.world.store.sightings()[node.record.ref.id]
    assert seen.host.clock_ahead_s == ahead_s
    there.limits.look()
    expires_at = there.keys.get(key.id).limits.expires_at
    assert expires_at == used_at + timedelta(days=1, seconds=-ahead_s)
    assert expires_at == world.keys.get(key.id).limits.expires_at


def test_a_report_says_no_ticket_that_came_after_it_looked(
    tmp_path: Path, wanted: tuple[Desired, Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long Xray takes to say who is online: else an old state would confirm a new wish for the same."""
    desired, _ = wanted
    on, off = desired.model_copy(update={"ticket": "10"}), desired.model_copy(update={"rev": "off", "keys": ()})
    world, plane = World(), SilentPlane([off.model_copy(update={"ticket": "8"})])
    agent = agent_of(world, plane, tmp_path)
    agent.follow()
    with pytest.raises(Unavailable):
        agent.follow()

    def online_by_key(_keys: object) -> dict[str, int]:
        plane.answers += [on, off.model_copy(update={"ticket": "12"})]
        agent.follow()  # hears that the key works again
        agent.follow()  # lets it in, and hears that it shall not
        return {}

    monkeypatch.setattr(type(world.enforcer.traffic), "online_by_key", lambda _self, keys: online_by_key(keys))
    agent.report()
    assert (plane.reports[-1].rev, plane.reports[-1].ticket) == ("off", "8")


def test_a_report_is_repeated_for_a_new_ticket(tmp_path: Path, wanted: tuple[Desired, Key]) -> None:
    """At once, where it said what is wanted; and nothing is said to be there while something else is applied."""
    desired, _ = wanted
    world, plane = World(), SilentPlane([desired, desired.model_copy(update={"keys": (), "ticket": "c.3"})])
    agent = agent_of(world, plane, tmp_path)
    agent.report()
    agent.follow()
    agent.follow()
    plane.received = Received(rev=desired.rev, ticket="c.4")
    assert agent.report() == 0.0
    assert agent.report() != 0.0
    assert [(one.rev, one.ticket) for one in plane.reports] == [
        ("", "none"),
        (desired.rev, "c.3"),
        (desired.rev, "c.4"),
    ]
    stored = DesiredFile(tmp_path / "desired.json").read()
    assert stored is not None
    assert (stored.rev, stored.keys) == (desired.rev, desired.keys)
    plane.answers.append(desired.model_copy(update={"rev": "other", "keys": ()}))
    agent.follow()
    world.node.answers = False
    with pytest.raises(StopPending):
        agent.follow()
    agent.report()
    assert plane.reports[-1].rev == ""


@pytest.mark.parametrize(("failing_for_s", "wakes"), [(None, 0), (3.0, 1)])
def test_nothing_new_is_reported_only_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_for_s: float | None, wakes: int
) -> None:
    """The control plane answers, so that a report which could not be sent is sent now; any other has its own time."""
    plane, woken = SilentPlane(), list[bool]()
    agent = agent_of(World(), plane, tmp_path)
    monkeypatch.setattr(plane, "desired", lambda *_: None)
    monkeypatch.setattr(agent.reporting, "status", lambda: SimpleNamespace(failing_for_s=failing_for_s))
    monkeypatch.setattr(agent.reporting, "wake", lambda: woken.append(True))
    agent.follow()
    assert len(woken) == wakes


def test_what_a_node_has_is_said_with_its_last_counters(tmp_path: Path, wanted: tuple[Desired, Key]) -> None:
    """In the last part of a report: a key that has left is finished by it, and its counters come before."""
    desired, _ = wanted
    plane = SilentPlane()
    agent = agent_of(World(), plane, tmp_path)
    agent.applied = Applied(desired.rev)
    stored = SimpleNamespace(news_in=lambda _lives: iter([(), ()]), note=lambda _part: None)
    agent._stored = cast("Any", stored)
    agent.report()
    assert [one.rev for one in plane.reports] == ["", desired.rev]


def test_a_token_that_is_old_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept before it is used; where it cannot be kept, the old one goes on."""
    plane = SilentPlane(token="old")
    agent = agent_of(World(), plane, tmp_path)

    def full(_tokens: tuple[str, ...]) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(agent, "keep_tokens", full)
    with pytest.raises(OSError, match="no space"):
        agent.report()
    monkeypatch.undo()
    assert agent.report() == pytest.approx(0.2)
    assert (agent.report() or 0) > 1
    assert (plane.tokens, plane.kept) == (["old", "old", "new"], [("new", "old")])


def test_a_membership_is_its_owner_s_alone(tmp_path: Path) -> None:
    """It is read as it was written; a damaged one says what to do."""
    assert load_membership(tmp_path) is None
    made = Membership(
        "https://192.0.2.1:8000", "far", "vpnk_node2_secret", None, "20001-20100", ("vpnk_node2_secret1",)
    )
    made.save(tmp_path)
    assert load_membership(tmp_path) == made
    assert (tmp_path / "agent.json").stat().st_mode & 0o777 == 0o600
    assert "secret" not in repr(made)
    (tmp_path / "agent.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="join with a new token"):
        load_membership(tmp_path)
    (tmp_path / "desired.json").write_text('{"rev": 1}', encoding="utf-8")
    assert DesiredFile(tmp_path / "desired.json").read() is None
