"""What every Store promises of nodes: the one in memory, and SQL on SQLite and PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.test_ledger import HOUR, SECOND
from tests.contract.test_store import NOON, add, key
from tests.support.databases import Database

from vpnkeys.domain.change import Intent, Stop
from vpnkeys.domain.key import Key
from vpnkeys.domain.nodes import LOCAL, NodeRecord
from vpnkeys.domain.traffic import Bytes, Gap, Samples
from vpnkeys.domain.webhook import Webhook
from vpnkeys.interfaces import Store

LIFE, NEXT = "life-1", "life-2"


def keys_of(store: Store) -> tuple[Key, ...]:
    """All keys."""
    return store.keys()


def merge(store: Store, life: Samples, seconds: float) -> None:
    """A sample so many seconds after noon."""
    with store.write() as transaction:
        transaction.ledger.merge(life, NOON + seconds * SECOND)


def test_the_built_in_node_is_there(store: Store) -> None:
    """From the beginning, and every key is its own that is on no other."""
    assert store.nodes() == (NodeRecord(LOCAL, "default", 1, None),)
    add(store, key(1))
    assert [one.node for one in keys_of(store)] == [LOCAL]


def test_a_key_knows_its_node_by_name(database: Database, store: Store) -> None:
    """Also in a store that was open before the node was there."""
    far = database.add_node("far")
    assert far.id != LOCAL.id
    assert [one.ref for one in store.nodes()] == [LOCAL, far]
    add(store, key(1, node=far), key(2))
    other = database.open()
    assert [one.node for one in keys_of(store)] == [one.node for one in keys_of(other)] == [far, LOCAL]
    other.close()


def test_a_port_is_unique_on_its_node(database: Database, store: Store) -> None:
    """Each node has all of them; what else tells keys apart does so everywhere."""
    far = database.add_node("far")
    add(store, key(1), replace(key(2, node=far), port=key(1).port))
    assert len({one.port for one in keys_of(store)}) == 1
    for taken in (replace(key(3), port=key(1).port), replace(key(3, node=far), short_id=key(1).short_id)):
        with pytest.raises(database.conflict):
            add(store, taken)
    assert [one.id for one in keys_of(store)] == ["id-1", "id-2"]


def test_keys_of_two_nodes_move_at_once(database: Database, store: Store) -> None:
    """Each pair takes the ports of its own node; a key may go to another one."""
    far = database.add_node("far")
    one, two = key(1), key(2)
    three, four = (replace(key(number, node=far), port=key(number - 2).port) for number in (3, 4))
    add(store, one, two, three, four)
    swapped = [replace(a, port=b.port) for a, b in ((one, two), (two, one), (three, four), (four, three))]
    with store.write() as transaction:
        transaction.update(*swapped)
    assert list(store.keys()) == swapped
    gone = replace(swapped[0], node=far, port=10050)
    with store.write() as transaction:
        transaction.update(gone)
    assert store.keys()[0] == gone


def test_intents_and_stops_are_of_a_node(database: Database, store: Store) -> None:
    """What starts reserves its port there, and nowhere else."""
    far = database.add_node("far")
    add(store, key(1))
    intent = Intent.of(replace(key(2, node=far), port=key(1).port), NOON)
    with store.write() as transaction:
        transaction.put_intents([intent, Intent.of(key(3), NOON)])
        transaction.put_stops([Stop.of(intent)])
    assert {*store.intents()} == {intent, Intent.of(key(3), NOON)}
    assert store.stops() == (Stop("id-2", "uuid-2", key(1).port, NOON, node_id=far.id),)
    with pytest.raises((database.conflict, ValueError)), store.write() as transaction:
        transaction.put_intents([Intent.of(replace(key(4), port=key(3).port), NOON)])
    assert len(store.intents()) == 2


def test_healthy_nodes_are_no_gap_for_each_other(database: Database, store: Store) -> None:
    """Each goes on in its own life, whatever the others' lives are called."""
    far = database.add_node("far")
    add(store, key(1), key(2, node=far))
    for second in range(4):
        merge(store, Samples(LIFE, {key(1).uuid: Bytes(second, 0)}), second)
        merge(store, Samples(f"far-{LIFE}", {key(2).uuid: Bytes(0, second)}, far.id), second + 0.5)
    assert [store.traffic(key(number).uuid).gaps for number in (1, 2)] == [(), ()]
    assert store.tally().gaps == 0


def test_a_gap_is_of_the_keys_of_its_node(database: Database, store: Store) -> None:
    """Another node's keys lost nothing, and webhooks hear of a gap only where keys had been."""
    far, empty = database.add_node("far"), database.add_node("empty")
    add(store, key(1), key(2, node=far))
    with store.write() as transaction:
        transaction.outbox.put_webhook(Webhook("w", "https://a.test/", "s" * 64, (), is_active=True, created_at=NOON))
    merge(store, Samples(LIFE, {key(1).uuid: Bytes(1, 0)}), 1)
    for node in (far, empty):
        merge(store, Samples(LIFE, {}, node.id), 1)
        merge(store, Samples(NEXT, {}, node.id), 5)
    gap = Gap(NOON + SECOND, NOON + 5 * SECOND)
    assert [store.traffic(key(number).uuid).gaps for number in (1, 2)] == [(), (gap,)]
    assert store.tally().gaps == 2
    assert [one.event for one in store.deliveries("w", 10)] == ["traffic.gap"]


def test_an_end_in_order_is_of_its_node(database: Database, store: Store) -> None:
    """Another node's life of the same name goes on."""
    far = database.add_node("far")
    add(store, key(1), key(2, node=far))
    for node_id, number in ((LOCAL.id, 1), (far.id, 2)):
        merge(store, Samples(LIFE, {key(number).uuid: Bytes(1, 0)}, node_id), 1)
    with store.write() as transaction:
        transaction.ledger.end_epoch(LIFE, NOON + 2 * SECOND, far.id)
    for node_id in (LOCAL.id, far.id):
        merge(store, Samples(NEXT, {}, node_id), 3)
    assert [len(store.traffic(key(number).uuid).gaps) for number in (1, 2)] == [1, 0]


def test_counters_are_of_a_key_and_a_node_and_a_life(database: Database, store: Store) -> None:
    """A key that moves carries on: what it used on both nodes adds up, however late and often a sample comes."""
    far = database.add_node("far")
    add(store, key(1))
    here = Samples(LIFE, {key(1).uuid: Bytes(100, 0)})
    there = Samples(LIFE, {key(1).uuid: Bytes(30, 4)}, far.id)
    merge(store, here, 1)
    with store.write() as transaction:
        transaction.update(key(1, node=far))
    for late in (there, here, there):
        merge(store, late, 2)
    assert store.counted(LIFE, key(1).uuid) == Bytes(100, 0)
    assert store.counted(LIFE, key(1).uuid, far.id) == Bytes(30, 4)
    assert store.traffic(key(1).uuid).total_bytes == 134
    assert store.totals()[key(1).uuid].total_bytes == 134
    fresh = replace(there, usage={key(1).uuid: Bytes(30, 14)})
    assert store.used_bytes({key(1).uuid: None}, [fresh]) == {key(1).uuid: 144}
    assert sum(point.usage.total for point in store.history(None, NOON, NOON + HOUR)) == 134


_GROWN = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 10**6)), min_size=1, max_size=4)


@given(lives=st.lists(_GROWN, min_size=6, max_size=6), chance=st.randoms(use_true_random=False))
@settings(
    max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)  # emptied each time
def test_reports_of_nodes_end_in_the_same_totals(
    database: Database, store: Store, lives: list[list[tuple[int, int]]], chance: Random
) -> None:
    """Lost, doubled, delayed and in whatever order: only the last report of each life has to come, at any time."""
    while len(store.nodes()) < 3:
        database.add_node(f"node-{len(store.nodes())}")
    with store.write() as transaction:
        transaction.delete(key(1).id)
        transaction.insert(key(1))
    sent, last = [], []
    for number, grown in enumerate(lives):
        node = store.nodes()[number % 3].ref
        used = Bytes(0, 0)
        for up, down in grown:
            used = Bytes(used.up + up, used.down + down)
            sent.append(Samples(f"life-{number // 3}", {key(1).uuid: used}, node.id))
        last.append(sent[-1])
    arrived = [*last, *chance.choices(sent, k=len(sent))]
    chance.shuffle(arrived)
    for report in arrived:
        merge(store, report, chance.randrange(3600))
    for report in last:
        assert store.counted(report.epoch, key(1).uuid, report.node_id) == report.usage[key(1).uuid]
    expected = sum(report.usage[key(1).uuid].total for report in last)
    assert store.traffic(key(1).uuid).total_bytes == expected
    assert sum(point.usage.total for point in store.history(key(1).uuid, NOON, NOON + HOUR)) == expected


def test_the_revision_grows_with_each_change_of_keys(database: Database, store: Store) -> None:
    """Whoever makes it; what is no change of keys leaves it as it is."""
    seen = [store.revision()]
    add(store, key(1))
    seen.append(store.revision())
    other = database.open()
    with other.write() as transaction:
        transaction.update(key(1, name="renamed"))
    seen.append(store.revision())
    merge(store, Samples(LIFE, {key(1).uuid: Bytes(1, 0)}), 1)
    assert store.revision() == other.revision() == seen[-1]
    with store.write() as transaction:
        transaction.delete("id-1")
    seen.append(other.revision())
    assert seen == sorted({*seen})
    other.close()


def test_what_was_counted_is_known_by_node_and_key(database: Database, store: Store) -> None:
    """Over all lives of each; a key that moved is on both, and one that is deleted on none."""
    far = database.add_node("far")
    add(store, key(1), key(2, node=far))
    assert store.counted_by_node() == {}
    for second, life in enumerate((LIFE, NEXT)):
        merge(store, Samples(life, {key(1).uuid: Bytes(1, 10)}), second)
        merge(store, Samples(life, {key(1).uuid: Bytes(2, 20), key(2).uuid: Bytes(3, 30)}, far.id), second)
    assert store.counted_by_node() == {LOCAL.id: Bytes(2, 20), far.id: Bytes(10, 100)}
    assert store.counted_by_key() == {key(1).uuid: Bytes(6, 60), key(2).uuid: Bytes(6, 60)}
    with store.write() as transaction:
        transaction.delete(key(1).id)
    assert store.counted_by_node() == {far.id: Bytes(6, 60)}
    assert store.counted_by_key() == {key(2).uuid: Bytes(6, 60)}
