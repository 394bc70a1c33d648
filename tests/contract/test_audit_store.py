"""Tokens and the audit log in every Store."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.contract.test_store import NOON, add, key

from vpnkeys.domain.actor import SERVER, Actor, acting
from vpnkeys.domain.audit import Entry, Filter, Outcome, key_changed, key_created, key_deleted, key_moved
from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.token import Scope, new_token
from vpnkeys.interfaces import Store

ANN = Actor("Ann", "192.0.2.1", "request-1")


def test_tokens_come_back_as_they_were(store: Store) -> None:
    """Added and changed, oldest first, seen by every later question."""
    one, _ = new_token("one", Scope.READ, NOON)
    two, _ = new_token("two", Scope.ADMIN, NOON + timedelta(seconds=1), NOON + timedelta(days=1))
    with store.write() as transaction:
        transaction.put_token(two)
        transaction.put_token(one)
    assert store.tokens() == (one, two)
    revoked = replace(one, revoked_at=NOON)
    with store.write() as transaction:
        transaction.put_token(revoked)
    assert store.tokens() == (revoked, two)


def test_the_audit_log_tells_of_every_change_of_keys(store: Store) -> None:
    """In the order of the changes, with whoever acted; newest first, from any record on, or about one key alone."""
    before = key(1)
    after = replace(before, name="other", note="note")
    with acting(ANN):
        add(store, before, key(2))
        with store.write() as transaction:
            transaction.update(after)
            transaction.update(after)  # changes nothing
            transaction.update(replace(after, port=20000, port_assigned_at=NOON))
            transaction.record(Entry("key.traffic_reset", "id-1"))
            transaction.delete("id-1")
    store.record(Entry("system.config_synced"), Outcome.FAILED, "why")
    records = store.audit(100)
    entries = [record.entry for record in reversed(records)]
    assert entries == [
        key_created(before),
        key_created(key(2)),
        key_changed(before, after),
        key_moved(after, replace(after, port=20000)),
        Entry("key.traffic_reset", "id-1"),
        key_deleted(replace(after, port=20000)),
        Entry("system.config_synced"),
    ]
    assert (records[0].outcome, records[0].detail, records[0].actor) == (Outcome.FAILED, "why", SERVER)
    assert {(record.actor, record.outcome) for record in records[1:]} == {(ANN, Outcome.DONE)}
    assert store.audit(2, records[1].id) == records[2:4]
    assert [record.entry.subject for record in store.audit(100, subject="id-2")] == ["id-2"]


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (Filter(), ["system.a_b", "keyboard.made", "key.deleted", "key.created"]),
        (Filter(action="key"), ["key.deleted", "key.created"]),
        (Filter(action="key.deleted"), ["key.deleted"]),
        (Filter(action="key.d"), []),
        (Filter(action="%"), []),
        (Filter(action="system"), ["system.a_b"]),
        (Filter(actor="aNN"), ["key.deleted", "key.created"]),
        (Filter(actor="%"), []),
        (Filter(outcome=Outcome.FAILED), ["system.a_b"]),
        (Filter("key", "bob", Outcome.DONE), []),
    ],
)
def test_the_audit_log_is_filtered(store: Store, chosen: Filter, found: list[str]) -> None:
    """By an action or its kind, by a part of a name in any case, and by the outcome; signs of a search mean nothing."""
    with acting(ANN), store.write() as transaction:
        transaction.record(Entry("key.created", "id-1"))
        transaction.record(Entry("key.deleted", "id-1"))
    with acting(Actor("Bob", "192.0.2.2", "request-2")), store.write() as transaction:
        transaction.record(Entry("keyboard.made", "id-2"))
    store.record(Entry("system.a_b"), Outcome.FAILED, "why")
    assert [record.entry.action for record in store.audit(100, chosen=chosen)] == found


@pytest.mark.parametrize(
    ("subject", "chosen"),
    [("\0", Filter()), ("id-1\0", Filter()), (None, Filter(actor="ann\0")), (None, Filter(action="key.created\0"))],
)
def test_a_text_that_cannot_be_stored_is_not_found(store: Store, subject: str | None, chosen: Filter) -> None:
    """PostgreSQL has no NUL in a text, and SQLite ends a pattern there."""
    with acting(ANN), store.write() as transaction:
        transaction.record(Entry("key.created", "id-1"))
    assert store.audit(100, subject=subject, chosen=chosen) == ()


def test_the_audit_log_tells_what_was_tried_in_vain(store: Store) -> None:
    """Of somebody's change that was taken back, with the reason; of one whose transaction failed, nothing."""
    with acting(ANN), store.write() as transaction:
        transaction.record_taken_back([key_created(key(1)), key_deleted(key(2))], "it hangs")
    with acting(ANN), pytest.raises(XrayUnavailable), store.write() as transaction:  # noqa: PT012 - the whole block
        transaction.insert(key(1))
        raise XrayUnavailable("it hangs")
    records = store.audit(100)
    assert [record.entry for record in records] == [key_deleted(key(2)), key_created(key(1))]
    assert {(record.actor, record.outcome, record.detail) for record in records} == {
        (ANN, Outcome.TAKEN_BACK, "it hangs")
    }
    assert store.keys() == ()
