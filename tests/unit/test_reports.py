"""What agents report: the same totals in whatever way reports get lost, doubled, late or out of order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fake_store import FakeStore
from tests.support.fleet import Agent, Plane, with_agent

from vpnkeys.agent.reporting import Stored
from vpnkeys.api.convert.agents import report_of
from vpnkeys.domain.actor import Actor, acting
from vpnkeys.domain.key import Key
from vpnkeys.domain.making import Draft
from vpnkeys.domain.nodes import NodeRecord, NodeState, NodeWish
from vpnkeys.domain.traffic import Bytes, EpochSample, Samples
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.nodes.refusals import A_WHILE_S, Refusals
from vpnkeys.service.nodes.reports import NodeReported, ReportRefused, ReportService
from vpnkeys.wire.agents import MOST_COUNTERS, Life

STEPS = ("carries", "samples", "reports", "loses", "loses the answer", "doubles", "delays", "restarts", "crashes")


def make(plane: Plane, name: str) -> Key:
    """A key on the node of this name."""
    return plane.keys.create(Draft("x"), None, NodeWish(node=name))


def arrive(agent: Agent, said: NodeReported) -> None:
    """A report comes in."""
    agent.plane.reports.receive(agent.record, said)


def take(agent: Agent, step: str, keys: tuple[Key, ...], late: list[NodeReported], chance: Random) -> None:
    """One thing happens on the node, or to its reports."""
    world = agent.world
    world.clock.advance(seconds=1)
    agent.plane.world.clock.advance(seconds=1)
    if step == "carries":
        up, down = chance.randrange(1000), chance.randrange(1000)
        world.node.carry(world.customer(chance.choice(keys)), up, down)
    elif step == "samples":
        world.enforcer.traffic.collect()
    elif step == "restarts":
        agent.stored = Stored()
    elif step == "crashes":
        world.enforcer.traffic.collect()
        world.node.end_xray()
        world.node.start_xray()
        world.keys.reconciler.reconcile()
    else:
        for part in agent.parts():
            said = report_of(agent.says(part))
            if step == "delays":
                late.append(said)
                continue
            for _ in range({"loses": 0, "doubles": 2}.get(step, 1)):
                arrive(agent, said)
            if step not in {"loses", "loses the answer"}:
                agent.stored.note(part)


@given(steps=st.lists(st.sampled_from(STEPS), max_size=40), chance=st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_every_byte_is_counted_once(steps: list[str], chance: Random) -> None:
    """Whatever happened before: one report that arrives makes all right, and late ones change nothing any more."""
    plane = Plane()
    agent = with_agent(plane, "far")
    keys = make(plane, "far"), make(plane, "far")
    late: list[NodeReported] = []
    for step in steps:
        take(agent, step, keys, late, chance)
    agent.world.enforcer.traffic.collect()
    agent.stored = Stored()
    agent.report()
    chance.shuffle(late)
    for said in late:
        arrive(agent, said)
    for key in keys:
        used = agent.world.store.traffic(key.account).total_bytes
        assert plane.world.store.traffic(key.account).total_bytes == used


@given(counts=st.lists(st.integers(0, 3 * MOST_COUNTERS), min_size=1, max_size=4))
@settings(max_examples=30)
def test_a_report_is_never_too_large(counts: list[int]) -> None:
    """All counters are in some part, each part has a bound, and what was stored is not said again but for the life."""
    plane = Plane()
    now = plane.world.clock.now()
    lives = tuple(
        EpochSample(
            Samples(f"life-{number}", {f"{number}-{one}": Bytes(one, 1) for one in range(count)}), now, has_ended=False
        )
        for number, count in enumerate(counts)
    )
    stored, said = Stored(), dict[tuple[str, str], tuple[int, int]]()
    for part in stored.news_in(lives):
        assert sum(len(life.usage) for life in part) <= MOST_COUNTERS
        said |= {(life.epoch, account): used for life in part for account, used in life.usage.items()}
        stored.note(part)
    assert said == {(one.samples.epoch, account): used for one in lives for account, used in one.samples.usage.items()}
    (again,) = stored.news_in(lives)
    assert [(life.epoch, life.usage) for life in again] == [(f"life-{len(counts) - 1}", {})]


def test_who_is_online_is_said_of_a_node_s_own_keys_while_it_is_heard_of() -> None:
    """A node has nothing to say of others' keys, and what it said is forgotten with it."""
    plane = Plane()
    agent, other = with_agent(plane, "far"), with_agent(plane, "other")
    key = make(plane, "far")
    for one, devices in ((agent, 2), (other, 99)):
        said = report_of(one.says(()))
        arrive(one, replace(said, online={key.account: devices, "nobody": 1}))
    board = Board(plane.world.store, plane.world.waiting.now)
    beside = ReportService(board, plane.world.clock, Refusals(board.store, board.monotonic))
    assert plane.reports.online() == beside.online() == {key.account: 2}, "another control plane knows it too"
    plane.world.clock.advance(seconds=16)
    assert plane.reports.online() == {}


def test_a_life_that_ended_in_order_is_said_once_more() -> None:
    """Although no counter of it has changed: without it, the end would be a gap."""
    now = Plane().world.clock.now()
    first = EpochSample(Samples("life-1", {"a": Bytes(1, 1)}), now, has_ended=False)
    stored = Stored()
    for part in stored.news_in((first,)):
        stored.note(part)
    second = EpochSample(Samples("life-2", {}), now + timedelta(seconds=1), has_ended=False)
    (part,) = stored.news_in((first._replace(has_ended=True), second))
    assert [(life.epoch, life.has_ended) for life in part] == [("life-1", True), ("life-2", False)]
    stored.note(part)
    (part,) = stored.news_in((first._replace(has_ended=True), second))
    assert [life.epoch for life in part] == ["life-2"]


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_the_clock_of_a_node_does_not_matter(hours: int) -> None:
    """Bytes are in the hour in which they were sampled by our own clock."""
    plane = Plane()
    agent = with_agent(plane, "far")
    key = make(plane, "far")
    agent.world.clock.advance(hours=hours)
    agent.world.node.carry(agent.world.customer(key), 10, 20)
    agent.world.enforcer.traffic.collect()
    agent.report()
    now = plane.world.clock.now()
    (point,) = plane.world.store.history(key.account, now - timedelta(hours=3), now + timedelta(hours=3))
    assert (point.begin, point.usage) == (now.replace(minute=0, second=0, microsecond=0), Bytes(10, 20))


def test_a_node_speaks_for_its_own_keys_only() -> None:
    """Counters of another node's key are refused with all that came with them, and recorded; of no key, left out."""
    plane = Plane()
    agent, other = with_agent(plane, "far"), with_agent(plane, "other")
    mine, theirs = make(plane, "far"), make(plane, "other")
    now = agent.world.clock.now()
    for account in (theirs.account, plane.keys.create(Draft("x"), None, NodeWish(node="local")).account):
        usage = {account: (10**6, 1), mine.account: (5, 5)}
        lie = report_of(agent.says((Life(epoch="life-9", sampled_at=now, usage=usage),)))
        with pytest.raises(ReportRefused):
            arrive(agent, lie)
    assert plane.world.store.totals() == {}
    assert [one[0] for one in refused(plane)] == [str(agent.record.ref.id)], "two lies of one kind"
    unknown = Life(epoch="life-9", sampled_at=now, usage={"nobody": (10**6, 1), mine.account: (5, 5)})
    arrive(agent, report_of(agent.says((unknown,))))
    assert plane.world.store.traffic(mine.account).total_bytes == 10
    assert other.record.ref != agent.record.ref


def refused(plane: Plane) -> list[tuple[str, str, str]]:
    """Subject, actor and text of the records about refused reports, oldest first."""
    records = [one for one in reversed(plane.world.store.audit(99)) if one.entry.action == "node.reported"]
    return [(one.entry.subject, one.actor.name, one.detail) for one in records]


def test_a_liar_fills_no_log() -> None:
    """One record for each node at once, and one with how many more there were when the next report comes in later."""
    plane = Plane()
    agent, other = with_agent(plane, "far"), with_agent(plane, "other")
    keys = {agent.record.ref.name: make(plane, "other"), other.record.ref.name: make(plane, "far")}

    def lie(liar: Agent) -> None:
        usage = {keys[liar.record.ref.name].account: (1, 1)}
        life = Life(epoch="life-9", sampled_at=liar.world.clock.now(), usage=usage)
        with acting(Actor(f"node {liar.record.ref.name}", "")), pytest.raises(ReportRefused):
            arrive(liar, report_of(liar.says((life,))))

    for _ in range(50):
        lie(agent)
    lie(other)
    assert [one[:2] for one in refused(plane)] == [("2", "node far"), ("3", "node other")]
    plane.world.waiting.time += A_WHILE_S
    other.report()
    assert len(refused(plane)) == 3
    assert refused(plane)[2][:2] == ("2", "node far")
    assert refused(plane)[2][2].endswith("none is counted. This was refused 49 more times in 10 minutes.")
    lie(agent)
    assert len(refused(plane)) == 4
    plane.world.waiting.time += A_WHILE_S
    other.report()
    assert len(refused(plane)) == 4


def test_tokens_are_of_one_node_and_one_join() -> None:
    """A join's token works once and for fifteen minutes; a node's own until it is lost, and is no API token."""
    plane = Plane()
    record, token = plane.add("far")
    assert plane.admin.identify(token) is not None
    for wrong in ("", token[:-1], token.replace("node", "join"), token.replace(f"node{record.ref.id}", "node1")):
        assert plane.admin.identify(wrong) is None
    new = replace(record, ref=record.ref._replace(name="second"))
    _, _, first = plane.admin.add(new)
    plane.world.clock.advance(minutes=16)
    for _ in range(2):
        assert plane.admin.join(first, lambda node: node) is None
    _, _, second = plane.admin.add(replace(new, ref=record.ref._replace(name="third")))
    assert plane.admin.join(second, lambda node: node) is not None
    assert plane.admin.join(second, lambda node: node) is None
    writes = plane.world.store.writes
    assert plane.admin.join(second[:-1], lambda node: node) is None
    assert plane.world.store.writes == writes, "a token that never was one costs no write"
    failed = [one for one in plane.world.store.audit(50) if one.entry.action == "node.joined" and one.detail]
    assert len(failed) == 2, "one for each token, however often it is tried"
    plane.admin.change("far", lambda node: replace(node, state=NodeState.LOST))
    assert plane.admin.identify(token) is None


def test_what_several_agents_report_is_one_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is refused takes no other along; each byte is counted once, however often they are sent."""
    plane, reports = Plane(), list[tuple[NodeRecord, NodeReported, Actor]]()
    agents = [with_agent(plane, name) for name in ("a", "b", "c")]
    keys = [make(plane, agent.record.ref.name) for agent in agents]
    for agent, key in zip(agents, keys, strict=True):
        agent.world.node.carry(agent.world.customer(key), 5, 50)
        agent.world.enforcer.traffic.collect()
        (part,) = agent.parts()
        reports.append((agent.record, report_of(agent.says(part)), Actor(f"node {agent.record.ref.name}", "")))
    of_a, (liar, report, actor) = reports[:2]
    reports.insert(1, (liar, replace(report, lives=of_a[1].lives), actor))
    written = list[FakeStore]()
    write = FakeStore.write

    def counted(store: FakeStore, **how: Any) -> Any:  # noqa: ANN401 - as it is
        written.append(store)
        return write(store, **how)

    monkeypatch.setattr(FakeStore, "write", counted)
    for _ in range(2):
        answers = plane.reports.receive_all(reports)
        assert [isinstance(answer, ReportRefused) for answer in answers] == [False, True, False, False]
    assert len(written) == 2
    assert {plane.world.store.traffic(key.account).total_bytes for key in keys} == {55}
    assert [one[:2] for one in refused(plane)] == [(str(liar.ref.id), actor.name)]
