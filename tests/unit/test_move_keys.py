"""Keys that move between nodes: the new link works when it is answered, and no byte is lost or counted twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from tests.support.fleet import FAR_PORTS, Agent, Plane, with_agent

from vpnkeys.api.convert.agents import report_of
from vpnkeys.domain.errors import InvalidChoice, NodeNotEmpty, NodeSilent, PortsExhausted, VpnKeysError
from vpnkeys.domain.key import Key, windows_of
from vpnkeys.domain.limits import NO_LIMITS, Limits, Status, Window
from vpnkeys.domain.making import Draft
from vpnkeys.domain.nodes import LOCAL, NodeState, NodeWish
from vpnkeys.domain.portpool import PortRange
from vpnkeys.service.change.late_calls import LateCalls
from vpnkeys.service.nodes.moving import Mover, Moves
from vpnkeys.service.nodes.reports import ReportRefused
from vpnkeys.service.rotation import Renewal, rotate


def fleet() -> tuple[Plane, Agent, Agent]:
    """A control plane and two nodes elsewhere."""
    plane = Plane()
    return plane, with_agent(plane, "old"), with_agent(plane, "new")


def make(plane: Plane, limits: Limits = NO_LIMITS, node: str = "old", *, is_active: bool = True) -> Key:
    """A key on a node."""
    plane.world.clock.advance(seconds=1)
    return plane.keys.create(Draft("x", limits=limits, is_active=is_active), None, NodeWish(node=node))


def move(plane: Plane, node: str = "old", to: str | None = "new") -> Moves:
    """Move the keys of a node."""
    assert plane.keys.elsewhere is not None
    count_left = plane.world.enforcer.traffic.count_left
    return Mover(plane.keys, plane.keys.elsewhere, count_left, within_s=0.0).move(node, to)


def has(agent: Agent, key: Key) -> bool:
    """Whether a customer gets in on the node."""
    return agent.world.node.connect(key) is not None


def use(agent: Agent, key: Key, bytes_: int) -> None:
    """A customer uses a key, and the node counts it; nothing is reported."""
    agent.world.node.carry(agent.world.customer(key), bytes_, 0)
    agent.world.enforcer.traffic.collect()
    agent.world.look()


def _always(draft: Draft, _key: Key) -> Draft:
    return draft


def used(plane: Plane, key: Key) -> int:
    """What the control plane has counted."""
    return plane.world.store.traffic(key.account).total_bytes


def test_keys_move_with_all_that_is_theirs() -> None:
    """Another place and link; the same id, UUID, name, note and limits. The old link is dead, and its port is free."""
    plane, old, new = fleet()
    key = make(plane, Limits(max_devices=2, expires_at=plane.world.clock.now() + timedelta(days=1)))
    make(plane, node="new")
    moves = move(plane)
    (moved,) = moves.moved
    assert (moved.was, moves.failed, moves.has_stopped) == (key, (), True)
    now = plane.keys.get(key.id)
    assert now == replace(key, node=now.node, port=now.port, port_assigned_at=now.port_assigned_at)
    assert (now.node, now.port) == (new.record.ref, FAR_PORTS.first + 1)
    assert (moved.now, moved.old_link, moved.link) == (now, plane.keys.link(key), plane.keys.link(now))
    assert (has(new, now), has(old, key)) == (True, False)
    old.follow()
    assert (plane.world.store.stops(), old.world.keys.list()) == ((), ())
    assert make(plane).port == key.port


def test_what_was_carried_at_the_old_place_counts_once() -> None:
    """Also what it had not reported by then, reports that come late or twice, and all again after a restart."""
    plane, old, new = fleet()
    key = make(plane)
    use(old, key, 100)
    early = list(old.parts())
    old.report()
    use(old, key, 30)
    assert used(plane, key) == 100
    move(plane)
    assert used(plane, key) == 130
    use(new, plane.keys.get(key.id), 7)
    new.report()
    for part in early:
        plane.reports.receive(old.record, report_of(old.says(part)))
    for agent in (old, new):
        agent.stored = type(agent.stored)()
        agent.report()
    assert used(plane, key) == 137
    move(plane, "new", "old")
    use(old, plane.keys.get(key.id), 5)
    old.report()
    assert used(plane, key) == 142


def test_a_node_that_never_had_a_key_counts_nothing_of_it() -> None:
    """Nor does one for a key that has left it, of more than the key itself."""
    plane, old, new = fleet()
    key, other = make(plane), make(plane, node="new")
    use(new, other, 10)
    said = [one.model_copy(update={"usage": {key.account: (9, 9)}}) for part in new.parts() for one in part]
    with pytest.raises(ReportRefused):
        plane.reports.receive(new.record, report_of(new.says(tuple(said))))
    assert (used(plane, key), has(old, key)) == (0, True)


def test_a_silent_node_ends_the_key_when_it_is_back() -> None:
    """Nothing waits for it; what it has carried meanwhile counts too."""
    plane, old, new = fleet()
    key = make(plane)
    old.is_silent = True
    plane.world.clock.advance(seconds=20)
    new.report()
    moves = move(plane)
    now = plane.keys.get(key.id)
    assert (moves.has_stopped, has(new, now), has(old, key)) == (False, True, True)
    with pytest.raises(NodeNotEmpty, match="has not confirmed"):
        plane.admin.remove("old")
    use(old, key, 100)
    use(new, now, 5)
    with pytest.raises(NodeSilent, match="stored, and in force the moment that the node is back"):
        plane.keys.change(key.id, lambda _key: Draft("renamed", is_active=False))
    changed = plane.keys.get(key.id)
    assert (changed.name, changed.node, has(new, now)) == ("renamed", new.record.ref, False)
    old.is_silent = False
    old.follow()
    old.follow()
    new.report()
    assert not has(old, key)
    assert (plane.world.store.stops(), old.world.keys.list(), used(plane, key)) == ((), (), 105)
    plane.admin.remove("old")


def test_a_stop_of_a_key_that_has_moved_waits_for_its_old_node_too() -> None:
    """Until its old link works no more: a delete is 503 until then, and then a repeat is what it should be."""
    plane, old, _ = fleet()
    key = make(plane)
    old.is_silent = True
    move(plane)
    for _ in range(2):
        with pytest.raises(NodeSilent, match="Node old has not confirmed"):
            plane.keys.delete(key.id)
        assert has(old, key)
    old.is_silent = False
    old.follow()
    assert plane.keys.delete(key.id) == (key.id,)
    assert not has(old, key)
    assert (old.world.keys.list(), plane.world.store.stops()) == ((), ())


def test_a_new_link_is_only_one_when_the_old_place_is_gone() -> None:
    """The old link works on a silent node until that is back, or given up: then nobody can say more."""
    plane, old, new = fleet()
    key = make(plane)
    old.is_silent = True
    move(plane)
    with pytest.raises(NodeSilent, match="Node old has not confirmed"):
        rotate(plane.keys, key.id, Renewal(uuid=True))
    plane.admin.change("old", lambda record: replace(record, state=NodeState.LOST))
    renewed = rotate(plane.keys, key.id, Renewal(uuid=True))
    assert has(new, renewed)
    assert plane.world.store.stops() == ()


def test_a_lost_node_is_left() -> None:
    """Its keys work elsewhere at once, and it can be removed."""
    plane, old, new = fleet()
    key = make(plane)
    old.is_silent = True
    plane.admin.change("old", lambda node: replace(node, state=NodeState.LOST))
    assert not move(plane).has_stopped
    assert has(new, plane.keys.get(key.id))
    plane.admin.remove("old")
    assert plane.keys.get(key.id).node == new.record.ref


def test_keys_move_from_and_to_the_built_in_node() -> None:
    """By its own road: what its Xray has counted stays the key's, also when it comes back."""
    plane, old, _ = fleet()
    key = make(plane, Limits(speed_mbps=5), node="local")
    world = plane.world
    world.keys.reconciler.late_calls = LateCalls(is_child=True)
    world.node.carry(world.customer(key), 50, 0)
    assert move(plane, "local", "old").has_stopped
    away = plane.keys.get(key.id)
    assert (away.node, has(old, away)) == (old.record.ref, True)
    assert world.node.connect(key) is None
    world.keys.reconciler.reconcile()
    assert key.tag not in world.node.file.inbounds
    assert world.node.speeds == {}
    use(old, away, 7)
    world.enforcer.traffic.collect()
    assert move(plane, "old", "local").has_stopped
    back = plane.keys.get(key.id)
    assert back.node == LOCAL
    connection = world.node.connect(back)
    assert connection is not None
    assert (has(old, away), world.store.traffic(key.account).total_bytes) == (False, 57)
    world.node.carry(connection, 3, 0)
    world.enforcer.traffic.collect()
    assert world.store.traffic(key.account).total_bytes == 60
    assert not world.keys.reconciler.compare()[1]
    assert plane.keys.delete(key.id) == (key.id,)


def test_nothing_changes_when_the_new_node_does_not_answer() -> None:
    """The old link works as before."""
    plane, old, new = fleet()
    key = make(plane)
    wanted = plane.board.wanted(new.record.ref.id).mark
    new.is_silent = True
    moves = move(plane)
    assert (moves.moved, [one.key for one in moves.failed]) == ((), [key])
    assert isinstance(moves.failed[0].error, NodeSilent)
    assert (plane.keys.list(), has(old, key)) == ((key,), True)
    plane.world.clock.advance(seconds=20)
    with pytest.raises(NodeSilent):
        move(plane)
    new.is_silent = False
    new.follow()
    assert new.world.keys.list() == ()
    assert plane.board.wanted(new.record.ref.id).mark == wanted


def test_a_key_that_cannot_move_keeps_no_other_back() -> None:
    """Each has its reason."""
    plane, old, new = fleet()
    limited, plain = make(plane, Limits(speed_mbps=5)), make(plane)
    new.world.node.can_limit_speeds = False
    moves = move(plane)
    assert [one.now.id for one in moves.moved] == [plain.id]
    assert [(one.key, one.error.code) for one in moves.failed] == [(limited, "node_refused")]
    assert (has(old, limited), has(new, plane.keys.get(plain.id))) == (True, True)


def test_keys_go_to_others_of_the_group_by_weight() -> None:
    """As many as have room there."""
    plane, _, _ = fleet()
    for _ in range(3):
        make(plane)
    plane.admin.change("new", lambda node: replace(node, max_keys=1))
    plane.admin.change("local", lambda node: replace(node, max_keys=1))
    moves = move(plane, to=None)
    assert {one.now.node.name for one in moves.moved} == {"local", "new"}
    assert [type(one.error) for one in moves.failed] == [PortsExhausted]
    plane.admin.change("old", lambda node: replace(node, group="eu"))
    with pytest.raises(InvalidChoice, match="no other node is in the group eu"):
        move(plane, to=None)
    for wrong in ("old", "nowhere"):
        with pytest.raises(InvalidChoice, match="no other node with this id or name; there is local, new"):
            move(plane, to=wrong)


def test_keys_go_where_names_work() -> None:
    """A node without them takes the share of no other."""
    plane, _, new = fleet()
    key = make(plane)
    plane.admin.change("new", lambda node: replace(node, weight=9))
    new.world.node.names = frozenset()
    new.report()
    moves = move(plane, to=None)
    assert [(one.now.id, one.now.node) for one in moves.moved] == [(key.id, LOCAL)]


def test_a_quota_goes_with_its_key() -> None:
    """What was used before is used there too, what comes in late strikes there, and no window takes it twice."""
    plane, old, new = fleet()
    key = make(plane, Limits(traffic_bytes=1000, traffic_window=Window.DAY))
    use(old, key, 600)
    old.report()
    move(plane)
    now = plane.keys.get(key.id)
    use(new, now, 300)
    assert has(new, now)
    use(new, now, 100)
    assert not has(new, now)
    new.report()
    plane.limits.look()
    assert plane.keys.get(key.id).status is Status.LIMITED
    for world in (plane.world, old.world, new.world):
        world.clock.advance(days=1)
    new.follow()
    old.follow()
    new.world.look()
    plane.limits.look()
    assert has(new, now)
    move(plane, "new", "old")
    back = plane.keys.get(key.id)
    use(old, back, 900)
    assert has(old, back)
    use(old, back, 100)
    assert not has(old, back)


def test_a_quota_that_goes_by_other_windows_counts_what_came_along_once() -> None:
    """The total and the windows are known each by itself."""
    plane, old, new = fleet()
    total = Limits(traffic_bytes=2000)
    key = make(plane, total)
    use(old, key, 900)
    old.report()
    move(plane)
    use(new, key, 100)
    new.report()
    for window in (Window.MONTH, Window.TOTAL, Window.MONTH, Window.TOTAL):
        draft = Draft("x", limits=replace(total, traffic_window=window))
        plane.keys.change(key.id, partial(_always, draft))
        key = plane.keys.get(key.id)
        since = windows_of([key], plane.world.clock.now())
        assert new.world.store.used_bytes(since) == plane.world.store.used_bytes(since) == {key.account: 1000}
    use(new, key, 999)
    assert has(new, key)
    use(new, key, 1)
    assert not has(new, key)


def test_bytes_of_a_node_that_was_away_strike_at_the_new_one() -> None:
    """As soon as they are reported."""
    plane, old, new = fleet()
    key = make(plane, Limits(traffic_bytes=1000))
    old.is_silent = True
    move(plane)
    now = plane.keys.get(key.id)
    use(old, key, 600)
    use(new, now, 500)
    new.report()
    assert has(new, now)
    old.is_silent = False
    old.follow()
    plane.limits.look()
    assert not has(new, now)


def test_an_inactive_key_moves_as_it_is() -> None:
    """And works there once it is switched on."""
    plane, old, new = fleet()
    key = make(plane, is_active=False)
    move(plane)
    now = plane.keys.get(key.id)
    assert (now.node, has(new, now)) == (new.record.ref, False)
    plane.keys.change(key.id, lambda _key: Draft("x"))
    assert has(new, now)
    old.follow()
    assert old.world.keys.list() == ()


def test_a_key_that_changes_while_it_moves_is_decided_again() -> None:
    """No change is undone by the move."""
    plane, _, new = fleet()
    key = make(plane)
    before, renamed = plane.board.on_news, list[str]()

    def on_news(node_id: int) -> None:
        if node_id == new.record.ref.id and not renamed:
            renamed.append("now")
            plane.keys.change(key.id, lambda _key: Draft("renamed"))
        before(node_id)

    plane.board.on_news = on_news
    (moved,) = move(plane).moved
    assert moved.now == plane.keys.get(key.id)
    assert (moved.now.name, moved.now.node) == ("renamed", new.record.ref)


def test_a_key_that_has_moved_is_not_moved_back_by_a_change_that_began_before() -> None:
    """The change is refused."""
    plane, old, new = fleet()
    key = make(plane)
    before, moved = plane.board.on_news, list[Moves]()
    choices = replace(Draft("x").choices, port=FAR_PORTS.last)

    def on_news(node_id: int) -> None:
        if node_id == old.record.ref.id and not moved:
            moved.append(Moves(old.record.ref, (), (), has_stopped=True))
            moved.append(move(plane))
        before(node_id)

    plane.board.on_news = on_news
    with pytest.raises(VpnKeysError):
        plane.keys.change(key.id, lambda _key: Draft("x", choices=choices))
    plane.board.on_news = before
    assert plane.keys.get(key.id).node == new.record.ref
    for agent in (old, new):
        agent.follow()
    assert has(new, plane.keys.get(key.id))


def test_another_server_name_is_taken_where_the_old_one_does_not_work() -> None:
    """The link is another one anyway."""
    plane, _, new = fleet()
    make(plane)
    new.world.node.names = frozenset({"other.example"})
    new.report()
    (moved,) = move(plane).moved
    assert moved.now.sni in new.world.node.names
    assert has(new, moved.now)


def test_ports_of_the_new_node_are_its_own() -> None:
    """Its range decides."""
    plane = Plane()
    with_agent(plane, "old")
    plane.add("narrow", PortRange(30001, 30001))
    key = make(plane)
    with pytest.raises(NodeSilent):
        move(plane, to="narrow")
    assert plane.keys.get(key.id) == key
