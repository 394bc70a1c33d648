"""What every Store promises of keys that are being placed on nodes, and of what nodes have confirmed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.contract.test_joining import made
from tests.contract.test_store import NOON, add, key
from tests.support.databases import Database

from vpnkeys.domain.change import KeptAnswer
from vpnkeys.domain.limits import Limits
from vpnkeys.domain.making.placing import Placing
from vpnkeys.domain.nodes import Confirmed, Join, Sighting
from vpnkeys.interfaces import Store

SOON = NOON + timedelta(seconds=1)


def test_a_key_that_is_placed_is_seen_by_all(database: Database, store: Store) -> None:
    """As it is, with its limits; it is no key yet; the revision grows when it comes and when it goes."""
    node, other = made(store).ref, database.open()
    placed = Placing(key(1, node=node, limits=Limits(traffic_bytes=5, expires_at=NOON)), "me", "h" * 64)
    before = other.revision()
    with store.write(durable=False) as transaction:
        transaction.nodes.place([placed])
        assert transaction.nodes.placings() == (placed,)
    assert store.for_nodes().placings == other.for_nodes().placings == (placed,)
    assert other.keys() == ()
    assert other.revision() > before
    between = other.revision()
    with other.write() as transaction:
        assert transaction.nodes.drop_placings([placed.key.id], "another") == 0
        assert transaction.nodes.drop_placings([placed.key.id, "no such"], "me") == 1
        assert transaction.nodes.drop_placings([placed.key.id]) == 0
        assert transaction.nodes.drop_placings([]) == 0
    assert store.for_nodes().placings == ()
    assert store.revision() > between
    other.close()


def test_a_key_is_placed_by_one(database: Database, store: Store) -> None:
    """Whoever comes second takes nothing."""
    node = made(store).ref
    with store.write() as transaction:
        transaction.nodes.place([Placing(key(1, node=node), "first")])
    with pytest.raises(database.conflict), store.write() as transaction:
        transaction.nodes.place([Placing(key(1, node=node), "second")])
    assert [one.owner for one in store.for_nodes().placings] == ["first"]


def test_a_request_is_known_while_it_is_carried_out_and_for_a_day(store: Store) -> None:
    """By its Idempotency-Key."""
    node = made(store).ref
    add(store, key(2))
    with store.write() as transaction:
        assert not transaction.nodes.is_known("h" * 64, NOON)
        transaction.nodes.place([Placing(key(1, node=node), "me", "h" * 64)])
        assert transaction.nodes.is_known("h" * 64, NOON)
        transaction.nodes.drop_placings([key(1).id], "me")
        assert not transaction.nodes.is_known("h" * 64, NOON)
        transaction.remember(KeptAnswer("h" * 64, "", "", NOON))
        assert transaction.nodes.is_known("h" * 64, NOON)
        assert not transaction.nodes.is_known("h" * 64, SOON)


def test_what_a_node_has_confirmed_is_kept_until_another_agent_joins(database: Database, store: Store) -> None:
    """Also by reports that confirm nothing new; another machine has nothing of it."""
    node, other = made(store).ref, database.open()
    confirmed = Confirmed("m" * 32, 7, {"id-1": "port_taken"})
    with store.write() as transaction:
        transaction.nodes.put_sighting(node.id, Sighting(NOON, "1", "2", ("a.test",), confirmed))
    with store.write() as transaction:
        transaction.nodes.put_sighting(node.id, Sighting(SOON, "1", "2", ("a.test",)))
    assert other.sightings()[node.id] == Sighting(SOON, "1", "2", ("a.test",), confirmed)
    with other.write() as transaction:
        transaction.nodes.put_join(Join("j" * 64, node.id, SOON))
        transaction.nodes.take_join("j" * 64, NOON)
    assert store.sightings()[node.id].confirmed is None
    other.close()


def test_a_lease_says_who_has_it_and_that_it_still_works(database: Database, store: Store) -> None:
    """Each beat is another one; whoever ends leaves all that it has, and nothing of others."""
    other = database.open()
    with store.write() as transaction:
        assert transaction.leases.holder("work") is None
        transaction.leases.put("work", "first")
        transaction.leases.put("more", "first")
    with other.write() as transaction:
        first = transaction.leases.holder("work")
        transaction.leases.put("work", "first")
        assert transaction.leases.holder("work") != first
        transaction.leases.put("work", "second")
        transaction.leases.drop("first")
    with store.write() as transaction:
        found = transaction.leases.holder("work")
        assert found is not None
        assert found.owner == "second"
        assert transaction.leases.holder("more") is None
    other.close()
