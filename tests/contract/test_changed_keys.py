"""Of many keys, only those that another process has changed are read again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from random import Random

import pytest
from sqlalchemy import func, select
from tests.contract.test_store import key
from tests.support.databases import Database

from vpnkeys.domain.key import ID
from vpnkeys.domain.nodes import NodeRecord, NodeRef
from vpnkeys.domain.portpool import PortRange
from vpnkeys.store.sql import memory, opening
from vpnkeys.store.sql.engine import Kept
from vpnkeys.store.sql.rows import KeyReader
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.store.sql.tables import changed_keys
from vpnkeys.store.sql.transaction import begun

MANY = 300


@pytest.fixture
def here(sql_database: Database) -> Iterator[SqlStore]:
    """A store that has read many keys."""
    with closing(sql_database.open()) as store:
        assert isinstance(store, SqlStore)
        with store.write() as transaction:
            transaction.insert(*map(key, range(1, MANY + 1)))
        store.keys()
        yield store


@pytest.fixture
def elsewhere(sql_database: Database) -> Iterator[SqlStore]:
    """Another server on the database, which has looked at the keys."""
    with closing(sql_database.open()) as store:
        assert isinstance(store, SqlStore)
        store.keys()
        yield store


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the keys that are read."""
    found: list[str] = []
    whole = KeyReader.key

    def noted(self: KeyReader, row: dict[str, str]) -> object:
        found.append(row["id"])
        return whole(self, row)

    monkeypatch.setattr(KeyReader, "key", noted)
    return found


def test_only_what_another_server_has_changed_is_read(here: SqlStore, elsewhere: SqlStore, read: list[str]) -> None:
    """New ones, changed ones and deleted ones, as the whole table would say; the others are the same objects."""
    before = here.keys()
    read.clear()
    new, changed = key(MANY + 1), replace(before[4], note="other")
    with elsewhere.write() as transaction:
        transaction.insert(new)
        transaction.update(changed)
        transaction.delete(before[7].id, before[MANY - 1].id)
    after = here.keys()
    assert sorted(read) == sorted([new.id, changed.id])
    assert list(map(ID, after)) == list(map(ID, elsewhere.keys()))
    assert after[4].note == "other"
    assert sum(one is other for one, other in zip(before, after, strict=False)) >= 6
    assert {one.id: one for one in after if one.id not in {new.id, changed.id}} == {
        one.id: one for one in before if one.id not in {changed.id, before[7].id, before[MANY - 1].id}
    }


def test_any_changes_lead_to_what_the_table_has(here: SqlStore, sql_database: Database, elsewhere: SqlStore) -> None:
    """Whoever changes what in which order: both servers, and one that reads all keys, have the same."""
    chance, number = Random(4), MANY  # noqa: S311
    for _ in range(30):
        by = chance.choice([here, elsewhere])
        some = chance.sample(list(by.keys()), 3)
        number += 1
        with by.write() as transaction:
            transaction.delete(some[0].id)
            transaction.insert(key(number))
            transaction.update(replace(some[1], name=f"n{number}"), replace(some[2], port=20_000 + number))
        if chance.random() < 0.7:
            assert list(here.keys()) == list(elsewhere.keys())
    with closing(sql_database.open()) as third:
        assert list(here.keys()) == list(elsewhere.keys()) == list(third.keys())


def test_a_look_during_a_commit_reads_what_it_changes(
    here: SqlStore, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit has been made, and what it made of the keys is not kept yet: other threads look at that moment."""
    read.clear()
    keep = Kept.keep

    def late(self: Kept, *arguments: object) -> None:
        assert len(here.keys()) == MANY + 1
        keep(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Kept, "keep", late)
    with here.write() as transaction:
        transaction.insert(key(MANY + 1))
    assert read == [key(MANY + 1).id]
    assert len(here.keys()) == MANY + 1


def test_a_new_node_is_no_reason_to_read_keys(here: SqlStore, elsewhere: SqlStore, read: list[str]) -> None:
    """One that gets another name is, as its keys have that."""
    read.clear()
    with elsewhere.write() as transaction:
        node = transaction.nodes.add(NodeRecord(NodeRef(0, "far"), "eu", 1, None, ports=PortRange(1, 9)))
    assert [one.ref.name for one in here.nodes()] == ["local", "far"]
    here.keys()
    assert read == []
    with elsewhere.write() as transaction:
        transaction.nodes.put(replace(node, ref=NodeRef(node.ref.id, "farther")))
    assert len(here.keys()) == len(read) == MANY


def assert_all_are_read(here: SqlStore, elsewhere: SqlStore, read: list[str]) -> None:
    """The next look reads every key, and comes to what the other server has."""
    read.clear()
    after = here.keys()
    assert len(read) == len(after)
    assert list(after) == list(elsewhere.keys())


def test_all_are_read_where_many_have_changed(
    here: SqlStore, elsewhere: SqlStore, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than are looked for one by one."""
    monkeypatch.setattr(memory, "_MOST_CHANGED", 2)
    monkeypatch.setattr(memory, "_CHANGED_IDS", memory._CHANGED_IDS.limit(3))
    with elsewhere.write() as transaction:
        transaction.update(*(replace(one, note="x") for one in elsewhere.keys()[:3]))
    assert_all_are_read(here, elsewhere, read)


def test_all_are_read_where_changes_were_forgotten(
    here: SqlStore, elsewhere: SqlStore, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when most of what was noted are keys that were deleted."""
    monkeypatch.setattr(opening, "_MANY_CHANGES", -2 * MANY - 2)
    with elsewhere.write() as transaction:
        transaction.delete(elsewhere.keys()[0].id)
    opening.forget_changes(elsewhere._engine)
    with elsewhere._engine.begin() as connection:
        assert connection.scalar(select(func.count()).select_from(changed_keys)) == 0
    assert_all_are_read(here, elsewhere, read)


def test_a_table_that_was_emptied_is_seen(here: SqlStore, elsewhere: SqlStore) -> None:
    """By TRUNCATE, which names no rows; SQLite has no such statement."""
    is_sqlite = elsewhere._engine.dialect.name == "sqlite"
    with begun(elsewhere._engine, {"writes": True}) as connection:
        connection.exec_driver_sql("DELETE FROM keys" if is_sqlite else "TRUNCATE keys CASCADE")
    assert list(here.keys()) == []
