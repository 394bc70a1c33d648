"""What webhooks are to be told, in every Store: it comes with the change, or not at all."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from tests.contract.test_store import NOON, add, key
from tests.support.databases import Database

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.event import Kind, NewEvent
from vpnkeys.domain.limits import Status
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.domain.webhook import Webhook, new_webhook
from vpnkeys.interfaces import Store
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import migrate
from vpnkeys.store.sql.outbox import read_unsettled

URL = "https://example.com/hook"


def hook(store: Store, *events: Kind, minute: int = 0) -> Webhook:
    """A webhook that is there."""
    made = new_webhook(URL, events, NOON.replace(minute=minute))
    put(store, made)
    return made


def put(store: Store, webhook: Webhook) -> None:
    """Add or change it."""
    with store.write() as transaction:
        transaction.outbox.put_webhook(webhook)


def waiting(store: Store, webhook: Webhook) -> list[str]:
    """The kinds of what it has still to be told, oldest first."""
    return [delivery.event.value for delivery in store.unsettled(webhook.id, 1000)]


def test_webhooks_come_back_as_they_were(database: Database, store: Store) -> None:
    """Added, changed, removed, seen by every other store at once; oldest first."""
    other = database.open()
    second, first = hook(store, minute=2), hook(store, Kind.KEY_DELETED, Kind.KEY_CREATED, minute=1)
    assert store.webhooks() == other.webhooks() == (first, second)
    assert first.events == (Kind.KEY_CREATED, Kind.KEY_DELETED)
    changed = replace(first, url="https://example.org", events=(), is_active=False)
    put(other, changed)
    assert store.webhooks() == other.webhooks() == (changed, second)
    for _ in range(2):
        with store.write() as transaction:
            transaction.outbox.delete_webhook(first.id)
    assert store.webhooks() == other.webhooks() == (second,)
    other.close()


def test_each_webhook_is_told_what_it_wants(store: Store) -> None:
    """Everything, only some kinds, or, switched off, nothing; of one event all have the same id and body."""
    every, some, off = hook(store), hook(store, Kind.KEY_DELETED, Kind.KEY_LIMITED), hook(store)
    put(store, replace(off, is_active=False))
    add(store, key(1))
    with store.write() as transaction:
        transaction.update(key(1, name="other", limit_status=Status.LIMITED))
    with store.write() as transaction:
        transaction.update(replace(transaction.keys()[0], port=20000, port_assigned_at=NOON))
        transaction.add_event(NewEvent(Kind.DRIFT_FOUND, {"added": 1}))
    with store.write() as transaction:
        transaction.delete("id-1")
    assert waiting(store, every) == [
        "key.created",
        "key.changed",
        "key.limited",
        "drift.found",
        "key.changed",
        "key.deleted",
    ]
    assert waiting(store, some) == ["key.limited", "key.deleted"]
    assert waiting(store, off) == []
    one, other = store.unsettled(every.id, 100)[2], store.unsettled(some.id, 100)[0]
    assert (one.event_id, one.body, one.created_at) == (other.event_id, other.body, other.created_at)
    assert json.loads(one.body)["id"] == one.event_id
    assert (one.attempts, one.next_try_at, one.delivered_at, one.last_error) == (0, one.created_at, None, "")


def test_what_was_taken_back_is_told_nobody(store: Store) -> None:
    """Whatever the reason; nor is what changed nothing."""
    webhook = hook(store)
    add(store, key(1))
    for kind in (XrayUnavailable, RuntimeError, KeyboardInterrupt):
        with pytest.raises(kind), store.write() as transaction:  # noqa: PT012 - the whole block
            transaction.insert(key(2))
            transaction.delete("id-1")
            transaction.add_event(NewEvent(Kind.DRIFT_FOUND, {}))
            raise kind("no")
    with store.write() as transaction:
        transaction.update(key(1))
        transaction.delete("nobody")
        transaction.insert(key(2))
        transaction.delete("id-2")
    assert waiting(store, webhook) == ["key.created"]


def test_a_life_of_xray_that_ended_unasked_is_a_gap(store: Store) -> None:
    """Told once, with its times; a life that we ended leaves none, nor does one from before the first key."""
    webhook = hook(store)

    def sample(life: str, minute: int) -> None:
        with store.write() as transaction:
            transaction.ledger.merge(Samples(life, {"uuid-1": Bytes(minute, 0)}), NOON.replace(minute=minute))

    sample("before keys", 0)
    sample("before keys too", 1)
    add(store, key(1, created_at=NOON.replace(minute=2)))
    sample("before keys too", 3)
    sample("first", 5)
    sample("first", 7)
    sample("second", 9)
    sample("second", 10)
    with store.write() as transaction:
        transaction.ledger.end_epoch("second", NOON.replace(minute=11))
    sample("third", 12)
    told = [json.loads(one.body)["data"] for one in store.unsettled(webhook.id, 100) if one.event is Kind.TRAFFIC_GAP]
    stamp = "2025-08-05T12:{:02}:00.000000".format
    assert told == [{"since": stamp(3), "until": stamp(5)}, {"since": stamp(7), "until": stamp(9)}]


def test_deliveries_are_settled_and_listed(store: Store) -> None:
    """What is delivered or given up waits no more, and is listed still, newest first; the rest waits as it was."""
    webhook, neighbour = hook(store), hook(store, minute=1)
    add(store, *(key(number) for number in range(1, 6)))
    first, second, third, *rest = store.unsettled(webhook.id, 100)
    done = first.delivered(NOON)
    failed = second.failed("down", NOON, 0.0)
    given_up = replace(third.failed("down", NOON, 0.0), next_try_at=None)
    with store.write() as transaction:
        for delivery in (done, failed, given_up):
            transaction.outbox.settle(delivery)
    assert store.unsettled(webhook.id, 100) == (failed, *rest)
    assert store.unsettled(webhook.id, 1) == (failed,)
    assert store.deliveries(webhook.id, 100) == (*reversed(rest), given_up, failed, done)
    assert store.deliveries(webhook.id, 2) == tuple(reversed(rest))
    assert len(store.unsettled(neighbour.id, 100)) == 5
    later = NOON + timedelta(hours=1)
    with store.write() as transaction:
        transaction.outbox.retry_at(webhook.id, later)
    assert [one.next_try_at for one in store.unsettled(webhook.id, 100)] == [later] * 3
    assert store.deliveries(webhook.id, 100)[-1] == done
    assert later not in {one.next_try_at for one in store.unsettled(neighbour.id, 100)}


def test_a_removed_webhook_takes_its_deliveries_along(store: Store) -> None:
    """Also one that is under way; nobody else's."""
    webhook, neighbour = hook(store), hook(store, minute=1)
    add(store, key(1))
    (under_way,) = store.unsettled(webhook.id, 1)
    with store.write() as transaction:
        transaction.outbox.delete_webhook(webhook.id)
    with store.write() as transaction:
        transaction.outbox.settle(under_way.delivered(NOON))
    assert (store.unsettled(webhook.id, 1), store.deliveries(webhook.id, 1)) == ((), ())
    assert len(store.unsettled(neighbour.id, 100)) == 1


def test_a_changed_webhook_keeps_what_waits(store: Store) -> None:
    """Also while it is switched off."""
    webhook = hook(store)
    add(store, key(1))
    put(store, replace(webhook, is_active=False, events=(Kind.PING,)))
    add(store, key(2))
    assert waiting(store, webhook) == ["key.created"]


def test_what_was_settled_long_ago_is_forgotten(store: Store) -> None:
    """By the age of the event, each kind of end by its own; what waits is never forgotten."""
    webhook = hook(store)
    add(store, *(key(number) for number in range(1, 4)))
    first, second, third = store.unsettled(webhook.id, 100)
    given_up = replace(second.failed("down", NOON, 0.0), next_try_at=None)
    with store.write() as transaction:
        transaction.outbox.settle(first.delivered(NOON))
        transaction.outbox.settle(given_up)
    before, after = first.created_at, third.created_at + timedelta(seconds=1)
    for delivered, gave_up, left in ((before, before, 3), (after, before, 2), (after, after, 1)):
        with store.write() as transaction:
            transaction.outbox.prune(delivered, gave_up)
        assert len(store.deliveries(webhook.id, 100)) == left
    assert store.deliveries(webhook.id, 100) == (third,)


def test_a_backlog_is_read_by_its_index(tmp_path: Path) -> None:
    """Looking for what waits must not mean to read all that was delivered in a week."""
    engine = open_engine(f"sqlite:///{tmp_path / 'vpnkeys.db'}")
    migrate(engine)
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
    with engine.begin() as connection:
        read_unsettled(connection, "w", 1)
        (query,) = [statement for statement in asked if statement.startswith("SELECT")]
        steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", ("w", "0001-01-01", 1, 0)).all()
    engine.dispose()
    assert "ix_deliveries_next_try_at" in str(steps)
    assert "SCAN" not in str(steps)
