"""Agents and control planes of neighbouring versions: what one of them does not know harms nothing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from tests.support.fleet import Agent, Plane, with_agent
from tests.support.memory import World
from tests.unit.test_agent import SilentPlane, agent_of

from vpnkeys.agent.agent import AgentTooOld
from vpnkeys.agent.following import Follower
from vpnkeys.agent.membership import DesiredFile, Kept
from vpnkeys.api.convert.agents import desired_answer, report_of
from vpnkeys.domain.making import Draft
from vpnkeys.domain.nodes import NodeWish
from vpnkeys.service.nodes.nodes import NodeService
from vpnkeys.service.report import Reporter
from vpnkeys.wire.agents import LEVEL, Desired, Joined, JoinRequest, Life, Received, Report, WantedKey

unknown = st.dictionaries(
    st.sampled_from(["load", "drift", "zone"]),
    st.one_of(st.integers(), st.text(max_size=5), st.none(), st.lists(st.integers())),
)


def as_of_another_version(data: st.DataObject, said: BaseModel) -> dict[str, Any]:
    """What was said, without some fields that have a default, and with some that nobody here knows; also inside."""
    optional = [name for name, field in type(said).model_fields.items() if not field.is_required()]
    left_out = data.draw(st.sets(st.sampled_from(optional))) if optional else set()
    document = said.model_dump(mode="json", exclude=left_out)
    for name, value in said:
        if name in document and isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            document[name] = [as_of_another_version(data, one) for one in value]
    return document | data.draw(unknown)


def fleet() -> tuple[Plane, Agent]:
    """A control plane, and a node with three keys."""
    plane = Plane()
    agent = with_agent(plane, "far")
    for _ in range(3):
        plane.keys.create(Draft("x"), None, NodeWish(node="far"))
    return plane, agent


@given(data=st.data())
@settings(max_examples=60)
def test_a_report_of_another_version_is_taken(data: st.DataObject) -> None:
    """What it says counts as always; what it does not say is as before."""
    plane, agent = fleet()
    for number, key in enumerate(plane.keys.list()):
        agent.world.node.carry(agent.world.customer(key), number, 10)
    agent.world.enforcer.traffic.collect()
    for part in agent.parts():
        document = as_of_another_version(data, agent.says(part))
        said = Report.model_validate(document)
        plane.reports.receive(agent.record, report_of(said))
        told = {account: sum(used) for life in said.lives for account, used in life.usage.items()}
        assert {account: total.total_bytes for account, total in plane.world.store.totals().items()} == told
        assert plane.world.store.sightings()[agent.record.ref.id].version == document.get("version", "")


@given(data=st.data())
@settings(max_examples=60)
def test_what_another_version_wants_is_done(data: st.DataObject) -> None:
    """All its keys are there; limits that it does not name are none."""
    plane, agent = fleet()
    desired = desired_answer(plane.board.wanted(agent.record.ref.id))
    heard = Desired.model_validate(as_of_another_version(data, desired))
    world = World()
    assert Follower(world.keys).apply(heard).rev == desired.rev
    assert {key.id for key in world.keys.list()} == {key.id for key in plane.keys.list()}
    assert all(world.node.connect(key) is not None for key in plane.keys.list())


def test_the_first_version_s_words_are_understood() -> None:
    """All that it sent, and no more: these fields can never be required to have company."""
    at = "2026-03-01T12:00:00"
    key = {"id": "i", "uuid": "u", "account": "u", "created_at": at, "is_active": True, "port": 1, "short_id": "s"}
    assert WantedKey.model_validate({**key, "sni": "a.test", "flow": ""}).traffic_limit_window == "total"
    assert Desired.model_validate({"rev": "r", "keys": []}).needs == 1
    assert Life.model_validate({"epoch": "e", "sampled_at": at}).usage == {}
    assert Report.model_validate({"now": at}).ticket == ""
    assert Received.model_validate({"rev": "r"}).ticket == ""
    assert Joined.model_validate({"node": "n", "token": "t", "port_range": "1-2"}).node == "n"
    joining = {"token": "t", "public_key": "k", "address": "a", "port_range": "1-2"}
    assert JoinRequest.model_validate({**joining, "zone": "x"}).token == "t"


def test_an_agent_without_tickets_confirms_as_before() -> None:
    """By what its node has alone."""
    plane, agent = fleet()
    agent.ticket = ""
    agent.report()
    assert plane.board.wanted(agent.record.ref.id).is_had(plane.board.confirmed(agent.record.ref.id))


def test_an_agent_that_is_too_old_keeps_what_it_has(tmp_path: Path) -> None:
    """Also on its disk; it goes on reporting, and is shown with its version and how long it has been behind."""
    plane, far = fleet()
    wanted = desired_answer(plane.board.wanted(far.record.ref.id))
    later = wanted.model_copy(update={"rev": "later", "keys": (), "needs": LEVEL + 1})
    world, silent = World(), SilentPlane([wanted, later, later])
    agent = agent_of(world, silent, tmp_path)
    agent.follow()
    for _ in range(2):
        with pytest.raises(AgentTooOld, match="upgrade vpnkeys on this node"):
            agent.follow()
    assert DesiredFile(tmp_path / "desired.json").read() == Kept.model_validate(wanted.model_dump())
    assert len(world.keys.list()) == 3
    agent.report()
    assert silent.reports[-1].rev == wanted.rev

    plane.keys.elsewhere.board.on_news = lambda _node_id: None  # type: ignore[union-attr]
    far.is_silent = True
    plane.keys.change(plane.keys.list()[0].id, lambda key: Draft("renamed", key.note))
    with plane.world.store.write() as transaction:
        transaction.delete(plane.keys.list()[0].id)
    plane.board.wanted(far.record.ref.id)
    plane.world.waiting.time += 60
    plane.reports.receive(far.record, report_of(silent.reports[-1].model_copy(update={"version": "0.0.9"})))
    reporter = Reporter(plane.world.keys.reconciler, plane.world.keys.pool)
    shown = NodeService(reporter, plane.world.keys.pool, plane.world.clock, plane.board, plane.world.waiting.now).get(
        "far"
    )
    assert (shown.state, shown.version, shown.following.lag_s) == ("up", "0.0.9", 60)
    assert shown.following.applied is not None
    assert shown.following.applied < shown.following.desired


@pytest.mark.parametrize("moment", ["2026-03-01T15:00:00+03:00", "2026-03-01T12:00:00Z", 1772366400])
def test_a_moment_with_an_offset_is_the_same_moment(moment: object) -> None:
    """Both sides compute with moments in UTC without an offset, whatever the other one writes."""
    noon = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - UTC without an offset, as everywhere
    assert Report.model_validate({"now": moment}).now == noon
    assert Received.model_validate({"rev": "r", "now": moment}).now == noon
