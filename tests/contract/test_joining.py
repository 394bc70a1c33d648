"""What every Store promises of nodes that are made, join, report and go."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from tests.contract.test_ledger import SECOND
from tests.contract.test_store import NOON, add, key
from tests.support.databases import Database

from vpnkeys.domain.change import Stop
from vpnkeys.domain.nodes import LOCAL, HostState, Join, NodeRecord, NodeRef, NodeState, Sighting
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.traffic import Bytes, EpochSample, Samples
from vpnkeys.interfaces import Store

NEW = NodeRecord(
    NodeRef(0, "far"),
    "eu",
    2,
    50,
    state=NodeState.JOINING,
    address="far.example",
    ports=PortRange(20001, 20100),
    public_key="K" * 43,
    token_digest="d" * 64,
    private_key="P" * 43,
    token_since=NOON,
    next_digest="n" * 64,
)


def made(store: Store, new: NodeRecord = NEW) -> NodeRecord:
    """A node that was added."""
    with store.write() as transaction:
        return transaction.nodes.add(new)


def test_a_node_is_kept_as_it_is(database: Database, store: Store) -> None:
    """All of it, also in another store; its keys know its new name."""
    node = made(store)
    assert node == replace(NEW, ref=NodeRef(node.ref.id, "far"))
    assert store.nodes()[1:] == (node,)
    add(store, key(1, node=node.ref))
    renamed = replace(node, ref=node.ref._replace(name="near"), ports=None, max_keys=None, state=NodeState.LOST)
    with store.write() as transaction:
        transaction.nodes.put(renamed)
    other = database.open()
    for one in (store, other):
        keys = one.keys()
        assert one.nodes()[1:] == (renamed,)
        assert [key.node for key in keys] == [renamed.ref]
    other.close()


def test_a_name_is_unique(database: Database, store: Store) -> None:
    """Also that of the built-in one."""
    made(store)
    for taken in ("far", LOCAL.name):
        with pytest.raises(database.conflict):
            made(store, replace(NEW, ref=NodeRef(0, taken)))
    assert len(store.nodes()) == 2


def test_a_removed_node_takes_what_is_its_own(database: Database, store: Store) -> None:
    """Not while it has keys; and its number is never given again, so that what was counted on it stays its own."""
    node = made(store)
    add(store, key(1, node=node.ref))
    with pytest.raises((database.conflict, ValueError)), store.write() as transaction:
        transaction.nodes.remove(node.ref.id)
    with store.write() as transaction:
        transaction.delete("id-1")
        transaction.nodes.put_join(Join("j" * 64, node.ref.id, NOON))
        transaction.nodes.put_sighting(node.ref.id, Sighting(NOON, "1", "2", ("a.test",)))
    with store.write() as transaction:
        transaction.nodes.remove(node.ref.id)
    assert [one.ref for one in store.nodes()] == [LOCAL]
    assert dict(store.sightings()) == {}
    assert made(store).ref.id > node.ref.id


def test_a_join_is_used_once_and_in_time(store: Store) -> None:
    """It is known for good."""
    node = made(store)
    with store.write() as transaction:
        transaction.nodes.put_join(Join("b" * 64, node.ref.id, NOON + 10 * SECOND))
    tries = [("b" * 64, 10), ("b" * 64, 9), ("b" * 64, 9), ("c" * 64, 1)]
    found = []
    for digest, seconds in tries:
        with store.write() as transaction:
            found.append(transaction.nodes.take_join(digest, NOON + seconds * SECOND))
    assert found == [None, node.ref.id, None, None]
    assert [store.knows_join(digest) for digest in ("b" * 64, "c" * 64)] == [True, False]


def test_only_the_last_join_of_a_node_can_be_used(store: Store) -> None:
    """Those of other nodes stay."""
    node, other = made(store), made(store, replace(NEW, ref=NodeRef(0, "other")))
    with store.write() as transaction:
        for digest, its in (("a", node), ("b", other), ("c", node)):
            transaction.nodes.put_join(Join(digest * 64, its.ref.id, NOON + SECOND))
    with store.write() as transaction:
        found = [transaction.nodes.take_join(digest * 64, NOON) for digest in "abc"]
    assert found == [None, other.ref.id, node.ref.id]


def test_a_key_has_a_stop_on_each_node(database: Database, store: Store) -> None:
    """Each is replaced and removed by itself; a key that moves takes along what was counted of it."""
    far = database.add_node("far")
    one = key(1)
    add(store, one)
    here = Stop(one.id, one.uuid, one.port, NOON)
    there = replace(here, node_id=far.id, port=20001)
    with store.write() as transaction:
        transaction.ledger.merge(Samples("life", {one.account: Bytes(3, 4)}), NOON)
        transaction.put_stops([here, there])
        assert {*transaction.stops()} == {here, there}
        transaction.update(replace(one, node=far, port=20002))
    with store.write() as transaction:
        transaction.put_stops([replace(there, is_confirmed=True)])
        transaction.drop_stops([one.id])
    other = database.open()
    for each in (store, other):
        assert each.stops() == (replace(there, is_confirmed=True),)
        assert each.traffic(one.account).total_bytes == 7
        (moved,) = each.keys()
        assert (moved.node, moved.port) == (far, 20002)
    other.close()


def test_bytes_that_another_server_counted_are_added(store: Store) -> None:
    """To the total or, if it is said when, to the windows of then; a reset takes them off too."""
    one = key(1)
    add(store, one)
    with store.write() as transaction:
        transaction.ledger.merge(Samples("life", {one.account: Bytes(3, 4)}), NOON)
        transaction.ledger.count_elsewhere(one.account, 100)
        transaction.ledger.count_elsewhere(one.account, 20, NOON)
    assert store.used_bytes({one.account: None}) == {one.account: 107}
    assert store.used_bytes({one.account: NOON}) == {one.account: 27}
    with store.write() as transaction:
        transaction.ledger.reset(one.account, NOON)
        transaction.ledger.count_elsewhere(one.account, 5, NOON)
        transaction.ledger.count_elsewhere(one.account, 6)
    assert store.used_bytes({one.account: None}) == {one.account: 6}
    assert store.used_bytes({one.account: NOON}) == {one.account: 5}


def test_gaps_are_those_of_the_nodes_on_which_a_key_was(database: Database, store: Store) -> None:
    """Of its former node while it was counted there, of its present one since it came."""
    far = database.add_node("far")
    one, late = key(1), NOON + 100 * SECOND
    add(store, one)
    with store.write() as transaction:
        ledger = transaction.ledger
        ledger.merge(Samples("a-1", {one.account: Bytes(1, 1)}), NOON + 10 * SECOND)
        ledger.merge(Samples("b-1", {}, far.id), NOON + 10 * SECOND)
        ledger.merge(Samples("a-2", {}), NOON + 20 * SECOND)
        ledger.merge(Samples("b-2", {}, far.id), NOON + 30 * SECOND)
        transaction.update(replace(one, node=far, port_assigned_at=late))
        ledger.merge(Samples("a-3", {}), late + 10 * SECOND)
        ledger.merge(Samples("b-3", {}, far.id), late + 20 * SECOND)
    assert [gap.until for gap in store.traffic(one.account).gaps] == [NOON + 20 * SECOND, late + 20 * SECOND]


def test_the_last_sighting_is_kept(store: Store) -> None:
    """It makes no node be read again."""
    node = made(store)
    before = store.nodes()
    seen = Sighting(NOON, "0.2.0", "26.3.27", ("a.test", "b.test"))
    for one in (seen, replace(seen, at=NOON + SECOND, names=())):
        with store.write() as transaction:
            transaction.nodes.put_sighting(node.ref.id, one)
        assert store.sightings() == store.sightings(node.ref.id) == {node.ref.id: one}
        assert store.sightings(node.ref.id + 1) == {}
    assert store.nodes() is before or store.nodes() == before


def test_who_is_online_and_how_a_host_is_are_known_to_all(database: Database, store: Store) -> None:
    """Each control plane reads what any of them was told, while it is of now."""
    node = made(store)
    seen = Sighting(NOON, "1", "2", (), host=HostState(0.25, -1.5))
    with closing(database.open()) as other:
        for online in ({"a": 2, "b": 1}, {"a": 3}):
            with store.write() as transaction:
                transaction.nodes.put_sighting(node.ref.id, seen, online)
            assert other.online(NOON - SECOND, NOON + SECOND) == online
            assert other.sightings()[node.ref.id].host == seen.host
        assert other.online(NOON, NOON + SECOND) == other.online(NOON - SECOND, NOON) == {}


def test_lives_are_those_of_the_built_in_node(database: Database, store: Store) -> None:
    """With the highest counters of each, and whether it ended in order."""
    far = database.add_node("other")
    add(store, key(1), key(2, node=far))
    first, second = Samples("life-1", {"uuid-1": Bytes(3, 4)}), Samples("life-2", {"uuid-1": Bytes(1, 0)})
    with store.write() as transaction:
        transaction.ledger.merge(first, NOON + SECOND)
        transaction.ledger.merge(Samples("life-1", {"uuid-2": Bytes(9, 9)}, far.id), NOON + SECOND)
        transaction.ledger.end_epoch("life-1", NOON + 2 * SECOND)
        transaction.ledger.merge(second, NOON + 3 * SECOND)
    assert store.lives() == (
        EpochSample(first, NOON + SECOND, has_ended=True),
        EpochSample(second, NOON + 3 * SECOND, has_ended=False),
    )
