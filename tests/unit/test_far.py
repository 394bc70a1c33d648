"""Keys of nodes elsewhere: 200 when their agent has confirmed it, and nothing is lost or left over when it has not."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Event, Thread, current_thread
from typing import Any

import pytest
from tests.fake_store import FakeStore
from tests.support.fleet import FAR_PORTS, Agent, Plane, with_agent
from tests.support.memory import World

from vpnkeys.api.convert.agents import report_of
from vpnkeys.domain.change import Stop
from vpnkeys.domain.errors import (
    CommitUnknown,
    InvalidChoice,
    KeyElsewhere,
    KeyNotFound,
    NodeNotEmpty,
    NodeRefused,
    NodeSilent,
    PortsExhausted,
    StoreUnavailable,
    TargetsUnready,
)
from vpnkeys.domain.event import Kind
from vpnkeys.domain.key import Key, Keys
from vpnkeys.domain.limits import NO_LIMITS, Limits, Status
from vpnkeys.domain.making import Choices, Draft
from vpnkeys.domain.nodes import LOCAL, Confirmed, NodeState, NodeWish
from vpnkeys.domain.traffic import Samples
from vpnkeys.domain.webhook import Webhook
from vpnkeys.service.idempotency import Repeat
from vpnkeys.service.limits.extending import extend
from vpnkeys.service.limits.notices import LimitNotices
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.nodes.far import FarRoad
from vpnkeys.service.nodes.wanted import Wanted, leaving
from vpnkeys.service.nodes.watch import NodeWatch
from vpnkeys.service.rotation import Renewal, rotate
from vpnkeys.service.selftest import SelfTest
from vpnkeys.service.subscriptions import SubscriptionService
from vpnkeys.worker import NEVER

NOW = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - UTC without an offset, as everywhere
FAR = NodeWish(node="far")
OFF = Draft("x", is_active=False)


def fleet() -> tuple[Plane, Agent]:
    """A control plane and one node elsewhere."""
    plane = Plane()
    return plane, with_agent(plane, "far")


def make(plane: Plane, limits: Limits = NO_LIMITS) -> Key:
    """A key on the node elsewhere."""
    plane.world.clock.advance(seconds=1)
    return plane.keys.create(Draft("x", limits=limits), None, FAR)


def has(agent: Agent, key: Key) -> bool:
    """Whether a customer gets in on the node."""
    return agent.world.node.connect(key) is not None


def test_a_key_is_on_its_node_alone() -> None:
    """Its customer gets in there when it is made; this server's Xray and ports know nothing of it."""
    plane, agent = fleet()
    key = make(plane)
    assert (key.node, key.port) == (agent.record.ref, FAR_PORTS.first)
    assert has(agent, key)
    assert plane.keys.list() == (key,)
    reconciler = plane.world.keys.reconciler
    assert not reconciler.compare()[1]
    assert key.tag not in plane.world.node.file.inbounds
    link = plane.keys.link(key)
    assert f"@far.example:{key.port}?" in link
    assert "pbk=key-of-far&" in link
    here = plane.keys.create(Draft("y"), None, NodeWish(node="local"))
    assert here.node == LOCAL
    assert "pbk=key-of-far&" not in plane.keys.link(here)


def test_changes_are_confirmed_by_the_node() -> None:
    """Switching, a new link, another port, and the end; a name does not concern it."""
    plane, agent = fleet()
    key = make(plane)
    mark = agent.applied.rev
    renamed = plane.keys.change(key.id, lambda key: Draft("renamed", key.note, key.limits))
    assert (renamed.name, agent.applied.rev) == ("renamed", mark)
    plane.keys.change(key.id, lambda _key: OFF)
    assert not has(agent, key)
    plane.keys.change(key.id, lambda _key: Draft("x"))
    assert has(agent, key)
    renewed = rotate(plane.keys, key.id, Renewal(uuid=True, short_id=True))
    assert has(agent, renewed)
    assert not has(agent, key)
    choices = replace(OFF.choices, port=FAR_PORTS.last)
    moved = plane.keys.change(key.id, lambda _key: Draft("x", choices=choices))
    assert moved.port == FAR_PORTS.last
    assert has(agent, moved)
    assert plane.keys.delete(key.id) == (key.id,)
    assert not has(agent, moved)
    assert not plane.world.store.stops()
    with pytest.raises(KeyNotFound):
        plane.keys.delete(key.id)


def test_two_copies_of_a_request_at_once_make_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the answer to the first: the lock of changes is free while an agent is waited for."""
    plane, _ = fleet()
    repeat, made = Repeat.of("me", "order-1", "x"), list[Key]()
    copy = Thread(target=lambda: made.append(plane.keys.create(Draft("x"), repeat, FAR)))

    wait_for = plane.board.wait_for

    def waiting(node_id: int, wanted: Wanted, most_s: float) -> Confirmed | None:
        if copy.ident is None:
            copy.start()
            copy.join(0.2)  # where nothing holds it back, it is done by then
        return wait_for(node_id, wanted, most_s)

    monkeypatch.setattr(Board, "wait_for", lambda _board, *given: waiting(*given))
    made.append(plane.keys.create(Draft("x"), repeat, FAR))
    copy.join()
    assert made == [*plane.keys.list()] * 2


def test_nothing_is_made_on_a_node_that_does_not_answer() -> None:
    """Neither there nor here, and nothing is left for the node to find when it is back."""
    plane, agent = fleet()
    agent.is_silent = True
    wanted = plane.board.wanted(agent.record.ref.id).mark
    with pytest.raises(NodeSilent):
        make(plane)
    assert plane.keys.list() == ()
    assert plane.board.wanted(agent.record.ref.id).mark == wanted
    plane.world.clock.advance(seconds=20)
    with pytest.raises(NodeSilent):
        make(plane)
    agent.is_silent = False
    agent.follow()
    assert agent.world.keys.list() == ()
    assert has(agent, make(plane))


def test_a_stop_is_stored_and_in_force_when_the_node_is_back() -> None:
    """Said not to be in force until then, also to who asks again; other nodes' keys are as always."""
    plane, agent = fleet()
    key, switched = make(plane), make(plane)
    agent.is_silent = True
    for _ in range(2):
        with pytest.raises(NodeSilent, match="in force the moment"):
            plane.keys.delete(key.id)
        with pytest.raises(NodeSilent):
            plane.keys.change(switched.id, lambda _key: OFF)
    assert [one.id for one in plane.keys.list()] == [switched.id]
    assert has(agent, key)
    assert plane.keys.create(Draft("here"), None, NodeWish(node="local")).node == LOCAL
    agent.is_silent = False
    agent.follow()
    assert not has(agent, key)
    assert not has(agent, switched)
    assert plane.keys.delete(key.id) == (key.id,)
    plane.keys.change(switched.id, lambda _key: OFF)
    assert not plane.world.store.stops()


def test_a_repeated_change_of_limits_waits_as_the_first_did() -> None:
    """It is no 200 because it is stored; a note is, and so is the repeat once the node has it."""
    plane, agent = fleet()
    key = make(plane)
    agent.is_silent = True
    strict = Draft("x", limits=Limits(max_devices=1))
    for _ in range(3):
        with pytest.raises(NodeSilent):
            plane.keys.change(key.id, lambda _key: strict)
    assert agent.world.keys.list()[0].limits.max_devices is None
    plane.keys.change(key.id, lambda _key: replace(strict, note="a word"))
    agent.is_silent = False
    plane.keys.change(key.id, lambda _key: replace(strict, note="a word"))
    assert agent.world.keys.list()[0].limits.max_devices == 1


def test_an_older_look_confirms_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that began before the stop and ended after it says nothing of what is wanted now."""
    plane, agent = fleet()
    key = make(plane)
    node_id = agent.record.ref.id
    agent.follow()
    agent.is_silent = True
    began, goes_on = Event(), Event()

    def slowly(node_id: int, keys: Keys, stops: Iterable[Stop]) -> dict[str, Key]:
        if current_thread() is slow:
            began.set()
            goes_on.wait(30)
        return leaving(node_id, keys, stops)

    monkeypatch.setattr("vpnkeys.service.nodes.board.leaving", slowly)
    slow = Thread(target=plane.board.wanted, args=(node_id,))
    slow.start()
    assert began.wait(30)

    def on_news(_node_id: int) -> None:
        goes_on.set()
        slow.join()

    plane.board.on_news = on_news
    with pytest.raises(NodeSilent):
        plane.keys.delete(key.id)
    assert plane.world.store.stops()
    assert has(agent, key)


def test_a_start_whose_commit_was_not_answered_is_there_or_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the commit was made, the key is as if it had been answered; where not, nothing is left."""
    plane, agent = fleet()
    write = FarRoad._write_last
    for fate in ("after", "before"):

        def loses(road: FarRoad, *rest: Any, fate: str = fate) -> None:  # noqa: ANN401 - handed on
            plane.world.store.loses_commit = fate
            write(road, *rest)

        monkeypatch.setattr(FarRoad, "_write_last", loses)
        if fate == "after":
            assert has(agent, make(plane))
        else:
            with pytest.raises(CommitUnknown):
                make(plane)
        assert len(plane.keys.list()) == len(agent.world.keys.list()) == 1
        assert plane.world.store.for_nodes().placings == ()


def test_a_lost_node_is_waited_for_by_nothing() -> None:
    """Its keys can be deleted, and it with those that are left."""
    plane, agent = fleet()
    key, _, pending = make(plane), make(plane), make(plane)
    agent.is_silent = True
    with pytest.raises(NodeSilent):
        plane.keys.delete(pending.id)
    with pytest.raises(NodeNotEmpty):
        plane.admin.remove("far")
    plane.admin.change("far", lambda node: replace(node, state=NodeState.LOST))
    assert plane.keys.delete(key.id) == (key.id,)
    plane.admin.remove("far")
    assert (plane.keys.list(), plane.world.store.stops()) == ((), ())
    assert [one.ref for one in plane.world.store.nodes()] == [LOCAL]


def test_a_key_that_its_node_cannot_start_is_not_made() -> None:
    """The error says why, and the next key gets another port."""
    plane, agent = fleet()
    agent.world.node.occupied = {FAR_PORTS.first}
    with pytest.raises(NodeRefused, match="port_taken"):
        make(plane)
    assert plane.keys.list() == ()
    key = make(plane)
    assert key.port == FAR_PORTS.first + 1
    assert has(agent, key)


def test_a_port_that_another_program_had_is_tried_again() -> None:
    """After a minute; until then its node has that much less room, and an error says what to do there."""
    plane, agent = fleet()
    other = with_agent(plane, "other")
    plane.admin.change("local", lambda node: replace(node, state=NodeState.DRAINED))
    plane.admin.change("far", lambda node: replace(node, weight=2))
    agent.world.node.occupied = {*FAR_PORTS.ports}
    with pytest.raises(NodeRefused):
        plane.keys.create_many([Draft("a"), Draft("b")], None, FAR)
    assert plane.keys.create(Draft("x")).node == other.record.ref  # far has one place of three left
    with pytest.raises(NodeRefused):
        make(plane)
    with pytest.raises(PortsExhausted, match=r"far can have 0.* after a minute"):
        make(plane)
    agent.world.node.occupied = set()
    plane.world.waiting.time += 60
    assert make(plane).port == FAR_PORTS.first


def test_ports_of_a_node_have_errors_of_their_own() -> None:
    """VPNKEYS_PORT_RANGE is that of the control plane's own node, and is named for that alone."""
    plane, agent = fleet()
    keys = [make(plane) for _ in FAR_PORTS.ports]

    def port(port: int) -> None:
        plane.keys.change(keys[0].id, lambda key: Draft(key.name, choices=Choices(port=port)))

    with pytest.raises(PortsExhausted, match="on node far are taken, by keys or by other programs there"):
        port(0)
    with pytest.raises(InvalidChoice, match="the range of node far"):
        port(1)
    agent.is_silent = True
    with pytest.raises(NodeSilent):
        plane.keys.delete(keys[1].id)
    with pytest.raises(NodeRefused, match="port_reserved"):
        make(plane)


def test_a_speed_that_its_node_cannot_limit_is_refused() -> None:
    """It keeps no other key from changing, and the node follows on."""
    plane, agent = fleet()
    agent.world.node.can_limit_speeds = False
    with pytest.raises(NodeRefused, match="speed_limit_impossible"):
        make(plane, Limits(speed_mbps=5))
    key, other = make(plane), make(plane)
    with pytest.raises(NodeRefused, match="not in force there"):
        plane.keys.change(key.id, lambda _key: Draft("x", limits=Limits(speed_mbps=5)))
    assert plane.keys.delete(other.id) == (other.id,)
    assert not has(agent, other)
    assert has(agent, key)


def test_a_repeated_request_makes_one_key() -> None:
    """Also when the first one was taken back."""
    plane, agent = fleet()
    repeat = Repeat.of("me", "order-1", (Draft("x"), FAR))
    agent.is_silent = True
    with pytest.raises(NodeSilent):
        plane.keys.create(Draft("x"), repeat, FAR)
    agent.is_silent = False
    key = plane.keys.create(Draft("x"), repeat, FAR)
    assert plane.keys.create(Draft("x"), repeat, FAR) == key
    assert plane.keys.list() == (key,)


def test_keys_go_where_there_is_most_room() -> None:
    """By weight, among the nodes of a group that are up, take keys and have room."""
    plane, agent = fleet()
    other = with_agent(plane, "other")
    plane.admin.change("local", lambda node: replace(node, weight=0))
    plane.admin.change("other", lambda node: replace(node, weight=3, max_keys=2))
    made = [plane.keys.create(Draft("x")).node.name for _ in range(4)]
    assert made == ["other", "far", "other", "far"]
    with pytest.raises(PortsExhausted):
        plane.keys.create(Draft("x"), None, NodeWish(node="other"))
    plane.admin.change("far", lambda node: replace(node, state=NodeState.DRAINED))
    with pytest.raises(NodeSilent, match="far is drained"):
        plane.keys.create(Draft("x"), None, FAR)
    plane.admin.change("other", lambda node: replace(node, group="eu", max_keys=None))
    assert plane.keys.create(Draft("x"), None, NodeWish(group="eu")).node == other.record.ref
    with pytest.raises(InvalidChoice, match="there is default, eu"):
        plane.keys.create(Draft("x"), None, NodeWish(group="us"))
    assert agent.world.keys.list()


def test_a_node_gets_no_more_keys_than_it_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither several in one request nor two requests at once; a node with room for all is chosen for several."""
    plane, agent = fleet()
    plane.admin.change("far", lambda node: replace(node, max_keys=1, weight=9))
    assert {key.node for key in plane.keys.create_many([Draft("a"), Draft("b")])} == {LOCAL}
    with pytest.raises(PortsExhausted, match="no room for 2 more: far can have 1"):
        plane.keys.create_many([Draft("a"), Draft("b")], None, FAR)
    refused = list[str]()
    wait_for = Board.wait_for

    def waiting(board: Board, node_id: int, wanted: Wanted, most_s: float) -> Confirmed | None:
        for create in (lambda: make(plane), lambda: plane.keys.on(agent.record).create_here([Draft("y")])):
            with pytest.raises(PortsExhausted) as error:
                create()
            refused.append(str(error.value))
        return wait_for(board, node_id, wanted, most_s)

    monkeypatch.setattr(Board, "wait_for", waiting)
    make(plane)
    assert ["max_keys), and has 1" in text for text in refused] == [False, True]
    assert len(Keys.of(plane.keys.list()).on(agent.record.ref.id)) == 1


def test_the_built_in_node_gets_no_more_keys_than_it_may_have() -> None:
    """Also while it is alone."""
    plane = Plane()
    plane.admin.change("local", lambda node: replace(node, max_keys=1))
    with pytest.raises(PortsExhausted):
        plane.keys.create_many([Draft("a"), Draft("b")])
    plane.keys.create(Draft("x"))
    with pytest.raises(PortsExhausted):
        plane.keys.create_here([Draft("y")])


def test_a_node_that_falls_silent_leaves_the_key_to_another() -> None:
    """Where the caller has named none."""
    plane, agent = fleet()
    plane.admin.change("far", lambda node: replace(node, weight=9))
    agent.is_silent = True
    assert plane.keys.create(Draft("x")).node == LOCAL


def test_a_node_that_cannot_have_a_key_leaves_it_to_another() -> None:
    """Without names, or when another program has its ports; one that is asked for by name says so."""
    plane, agent = fleet()
    other = with_agent(plane, "other")
    plane.admin.change("local", lambda node: replace(node, state=NodeState.DRAINED))
    plane.admin.change("far", lambda node: replace(node, weight=9))
    agent.world.node.names = frozenset()
    agent.report()
    assert plane.keys.create(Draft("x")).node == other.record.ref
    with pytest.raises(TargetsUnready):
        make(plane)
    agent.world.node.names = other.world.node.names
    agent.report()
    agent.world.node.occupied |= {*FAR_PORTS.ports}
    repeat = Repeat.of("me", "order-1", "x")
    key = plane.keys.create(Draft("x"), repeat)
    assert (key.node, plane.keys.create(Draft("x"), repeat)) == (other.record.ref, key)
    assert len(plane.keys.list()) == 2
    other.world.node.names = agent.world.node.names = frozenset()
    agent.report()
    other.report()
    with pytest.raises(TargetsUnready):  # none of them: the last one says so
        plane.keys.create(Draft("x"))


def test_the_built_in_node_without_names_leaves_keys_to_others() -> None:
    """Where no other is there, it is asked as before: its names may work in a moment."""
    plane, agent = fleet()
    plane.admin.change("local", lambda node: replace(node, weight=9))
    plane.world.node.names = frozenset()
    assert plane.keys.create(Draft("x")).node == agent.record.ref
    plane.admin.change("far", lambda node: replace(node, state=NodeState.DRAINED))
    with pytest.raises(TargetsUnready, match="vpnkeys system targets"):
        plane.keys.create(Draft("x"))


def test_keys_of_several_nodes_are_deleted_at_once() -> None:
    """And extended, each on its own node; one that does not exist keeps all."""
    plane, agent = fleet()
    later = Limits(expires_at=plane.world.clock.now() + timedelta(days=1))
    far = make(plane, later)
    here = plane.keys.create(Draft("y", limits=later), None, NodeWish(node="local"))
    extended = extend(plane.keys, [far.id, here.id], timedelta(days=1))
    assert {key.id: key.limits.expires_at for key in extended} == {
        key.id: plane.keys.get(key.id).limits.expires_at for key in (far, here)
    }
    with pytest.raises(KeyNotFound):
        plane.keys.delete(far.id, "nobody", here.id)
    assert len(plane.keys.list()) == 2
    assert {*plane.keys.delete(far.id, here.id)} == {far.id, here.id}
    assert agent.world.keys.list() == plane.keys.list() == ()


def test_a_longer_time_is_given_once() -> None:
    """Of a node that does not answer nothing is stored, so that asking again gives the time that was asked for."""
    plane, agent = fleet()
    ends_at = plane.world.clock.now() + timedelta(days=10)
    keys = [make(plane, Limits(expires_at=ends_at)), make(plane, Limits(expires_at=ends_at))]
    off = plane.keys.change(keys[1].id, lambda key: replace(OFF, limits=key.limits))
    agent.is_silent = True
    for _ in range(2):
        for key in keys:
            with pytest.raises(NodeSilent, match="Nothing was changed"):
                extend(plane.keys, [key.id], timedelta(days=30))
    assert {key.limits.expires_at for key in plane.keys.list()} == {ends_at}
    agent.is_silent = False
    agent.report()
    extended = extend(plane.keys, [keys[0].id, off.id], timedelta(days=30))
    assert {key.limits.expires_at for key in (*extended, *agent.world.keys.list())} == {ends_at + timedelta(days=30)}


def test_a_longer_time_is_given_to_all_or_none() -> None:
    """A node that was not heard of is known before another one's keys are extended."""
    plane, agent = fleet()
    later = Limits(expires_at=plane.world.clock.now() + timedelta(days=1))
    far, here = make(plane, later), plane.keys.create(Draft("y", limits=later), None, NodeWish(node="local"))
    agent.is_silent = True
    plane.world.clock.advance(seconds=20)
    with pytest.raises(NodeSilent, match="Nothing was changed"):
        extend(plane.keys, [here.id, far.id], timedelta(days=1))
    assert {key.limits for key in plane.keys.list()} == {later}


def test_who_falls_silent_while_others_are_extended_is_named() -> None:
    """So that only those keys are asked for again."""
    plane, agent = fleet()
    later = Limits(expires_at=plane.world.clock.now() + timedelta(days=1))
    far, here = make(plane, later), plane.keys.create(Draft("y", limits=later), None, NodeWish(node="local"))
    agent.is_silent = True
    with pytest.raises(NodeSilent, match=f"Keys on other nodes are done: ask again for {far.id} alone"):
        extend(plane.keys, [here.id, far.id], timedelta(days=1))
    ends = [plane.keys.get(key.id).limits.expires_at for key in (here, far)]
    assert later.expires_at is not None
    assert ends == [later.expires_at + timedelta(days=1), later.expires_at]


def test_a_shorter_time_is_stored_and_a_longer_one_is_not() -> None:
    """Of a silent node: what is to stop does so when it is back, what is to go on is asked for again."""
    plane, agent = fleet()
    now = plane.world.clock.now()
    key = make(plane, Limits(expires_at=now + timedelta(days=10), max_devices=3))
    agent.is_silent = True
    shorter = Limits(expires_at=now + timedelta(days=5), max_devices=2)
    for limits, stored in ((shorter, shorter), (replace(shorter, max_devices=None), shorter)):
        with pytest.raises(NodeSilent):
            plane.keys.change(key.id, lambda _key, limits=limits: Draft("x", limits=limits))  # type: ignore[misc]
        assert plane.keys.get(key.id).limits == stored


def test_limits_strike_on_the_node_and_are_known_here() -> None:
    """Expiry and traffic; a key whose limit is raised works again."""
    plane, agent = fleet()
    key = make(plane, Limits(traffic_bytes=1000))
    dated = make(plane, Limits(expires_at=plane.world.clock.now() + timedelta(hours=1)))
    agent.world.node.carry(agent.world.customer(key), 600, 600)
    agent.world.look()
    assert not has(agent, key)
    agent.report()
    plane.limits.look()
    assert plane.keys.get(key.id).status is Status.LIMITED
    plane.keys.change(key.id, lambda key: Draft(key.name, limits=Limits(traffic_bytes=5000)))
    assert has(agent, key)
    for world in (plane.world, agent.world):
        world.clock.advance(hours=2)
    agent.world.look()
    plane.limits.look()
    assert not has(agent, dated)
    assert plane.keys.get(dated.id).status is Status.EXPIRED


def test_a_look_at_limits_is_at_what_was_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at all keys; what the database did not tell is looked at the next time."""
    plane, agent = fleet()
    key, other = make(plane, Limits(traffic_bytes=1000)), make(plane, Limits(traffic_bytes=1000))
    plane.limits.look()
    agent.world.node.carry(agent.world.customer(key), 600, 600)
    agent.world.enforcer.traffic.collect()
    agent.report()
    agent.is_silent = True  # asking what it should have, it would be told what all its keys have used
    asked = list[set[str]]()
    used_bytes = FakeStore.used_bytes

    def asking(
        store: FakeStore, since: Mapping[str, datetime | None], fresh: Iterable[Samples] = ()
    ) -> Mapping[str, int]:
        asked.append({*since})
        if len(asked) == 1:
            raise StoreUnavailable("not now")
        return used_bytes(store, since, fresh)

    monkeypatch.setattr(FakeStore, "used_bytes", asking)
    with pytest.raises(StoreUnavailable):
        plane.limits.look()
    for _ in range(2):
        plane.limits.look()
    assert {*map(frozenset, asked)} == {frozenset({key.account})}, "what the others have used is known"
    assert plane.keys.get(key.id).status is Status.LIMITED
    assert plane.keys.get(other.id).status is Status.ACTIVE


def test_bytes_that_matter_to_no_limit_are_only_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is looked at again when a share that is notified is reached, or the limit, and not before."""
    plane, agent = fleet()
    keys = [make(plane, Limits(traffic_bytes=1000)) for _ in range(3)]
    plane.limits.look()
    looked_at = list[list[tuple[str, int | None]]]()

    def notify(_notices: LimitNotices, used: Iterable[tuple[Key, int | None]]) -> bool:
        looked_at.append([(key.id, used_bytes) for key, used_bytes in used])
        return True

    monkeypatch.setattr(LimitNotices, "notify", notify)
    first = keys[0]
    for more in (100, 600, 90, 20, 100, 60, 100):
        for key in keys if more == 100 else [first]:
            agent.world.node.carry(agent.world.customer(key), more, 0)
        agent.world.enforcer.traffic.collect()
        agent.report()
        plane.limits.look()
    assert looked_at == [[], [], [], [(first.id, 810)], [], [(first.id, 970)], [(first.id, 1070)]]
    assert plane.keys.get(first.id).status is Status.LIMITED
    assert {plane.keys.get(key.id).status for key in keys[1:]} == {Status.ACTIVE}


def test_what_only_this_server_can_do_is_refused() -> None:
    """Neither a test nor a reset says that it was done."""
    plane, _ = fleet()
    key = make(plane)
    with pytest.raises(KeyElsewhere):
        SelfTest(plane.world.node).of(key)
    with pytest.raises(KeyElsewhere):
        plane.world.enforcer.traffic.reset(key)


def test_the_node_starts_from_what_it_keeps() -> None:
    """A second look at the same changes nothing, and what it lacks comes back."""
    plane, agent = fleet()
    key = make(plane)
    writes = agent.world.store.writes
    agent.follow()
    assert agent.world.store.writes == writes
    agent.world = World()
    agent.follow()
    assert has(agent, key)


def test_what_was_said_earlier_confirms_nothing_now() -> None:
    """A report that comes in late says what the node had; since then it may have had something else."""
    plane, agent = fleet()
    key = make(plane)
    plane.keys.change(key.id, lambda _key: OFF)
    late = agent.says(())
    plane.keys.change(key.id, lambda _key: Draft("x"))
    plane.board.on_news = lambda _node_id: arrive()

    def arrive() -> None:
        plane.reports.receive(agent.record, report_of(late))

    with pytest.raises(NodeSilent):
        plane.keys.change(key.id, lambda _key: OFF)
    assert has(agent, key)
    assert not any(stop.is_confirmed for stop in plane.world.store.stops())
    agent.follow()
    plane.keys.change(key.id, lambda _key: OFF)
    assert not has(agent, key)


def test_webhooks_hear_of_nodes() -> None:
    """Once each: of one that falls silent, is back, and is given up."""
    plane, agent = fleet()
    hook = Webhook("w", "https://a.test/", "s" * 64, (), is_active=True, created_at=NOW)
    watch = NodeWatch(plane.board, plane.world.clock)
    with plane.world.store.write() as transaction:
        transaction.outbox.put_webhook(hook)
    watch.look()
    plane.world.clock.advance(seconds=20)
    for _ in range(2):
        watch.look()
    assert watch.silent() == {agent.record.ref.id}
    agent.follow()
    for _ in range(2):
        watch.look()
    assert watch.silent() == frozenset()
    for _ in range(2):
        plane.admin.change("far", lambda node: replace(node, state=NodeState.LOST))
    plane.world.clock.advance(seconds=20)
    watch.look()
    told = [one.event for one in reversed(plane.world.store.deliveries("w", 10))]
    assert told == [Kind.NODE_SILENT, Kind.NODE_BACK, Kind.NODE_LOST]


def test_nothing_is_looked_for_elsewhere_before_there_is_a_second_node() -> None:
    """Both workers sleep on a server alone, and are woken by the first node that is made; then they look on."""
    plane = Plane()
    watch, woken = NodeWatch(plane.board, plane.world.clock), list[str]()
    plane.board.on_made = lambda: woken.append("made")
    assert plane.limits.look() == watch.look() == NEVER
    with_agent(plane, "far")
    assert woken == ["made"]
    assert plane.limits.look() is None
    assert watch.look() is None


def test_another_server_of_the_database_may_make_the_second_node() -> None:
    """No word of that comes here: both look again by themselves."""
    plane = Plane()
    plane.world.store.is_remote = True
    for wait_s in (plane.limits.look(), NodeWatch(plane.board, plane.world.clock).look()):
        assert wait_s is not None
        assert wait_s <= 10


def test_nodes_have_their_time_after_a_start_also_when_another_is_made() -> None:
    """Else those whose agents have not been back yet would be told as silent."""
    plane, _ = fleet()
    watch = NodeWatch(plane.board, plane.world.clock)
    watch.worker.start()
    watch.look_soon()
    status = watch.worker.status()
    assert status is not None
    assert not status.is_late
    assert status.last_success_age_s is None
    watch.worker.stop()


def test_a_subscription_leaves_out_what_is_lost() -> None:
    """But is not empty: an address without keys is taken for revoked."""
    plane, _ = fleet()
    far, here = make(plane), plane.keys.create(Draft("y"), None, NodeWish(node="local"))
    service = SubscriptionService(plane.world.store, plane.world.clock, "https://a.test", plane.keys.list)
    _, both = service.share([far.id, here.id])
    _, alone = service.rotate(far)
    assert service.find(both) == (far, here)
    plane.admin.change("far", lambda node: replace(node, state=NodeState.LOST))
    assert service.find(both) == (here,)
    assert service.find(alone) == (far,)
