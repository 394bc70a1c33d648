"""The kinds of databases that keep the promises of `interfaces.Store`: one in memory, SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from tests.fake_store import FakeStore, Memory
from tests.support.postgres import Cluster
from vpnkeys.domain.errors import KeysChangedMeanwhile
from vpnkeys.domain.nodes import NodeRecord, NodeRef
from vpnkeys.interfaces import Store
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.opening import open_migrated
from vpnkeys.store.sql.store import SqlStore


@dataclass(frozen=True, slots=True)
class Database:
    """A database, and how to open one more store on it. `conflict` is what it raises when a key is not new.

    `add_node` gives it one more node. `url` is empty for one that only this process has.
    """

    open: Callable[[], Store]
    conflict: type[Exception]
    add_node: Callable[[str], NodeRef]
    url: str = ""


def in_memory() -> Database:
    """A fake one."""
    memory = Memory()

    def add_node(name: str) -> NodeRef:
        with FakeStore(memory).write() as transaction:
            return transaction.nodes.add(NodeRecord(NodeRef(0, name), "default", 1, None)).ref

    return Database(lambda: FakeStore(memory), ValueError, add_node)


def sql(url: str) -> Database:
    """An SQL database that has been made."""

    def add_node(name: str) -> NodeRef:
        engine = open_engine(url)
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            adding = text("INSERT INTO nodes (name) VALUES (:name) RETURNING id")
            number = connection.execute(adding, {"name": name}).scalar_one()
        engine.dispose()
        return NodeRef(number, name)

    return Database(lambda: SqlStore(open_engine(url)), KeysChangedMeanwhile, add_node, url)


def sqlite(path: Path) -> Database:
    """A new SQLite file."""
    url = f"sqlite:///{path}"
    open_migrated(url).dispose()
    return sql(url)


def postgresql(cluster: Cluster) -> Database:
    """An empty database of a cluster, for as long as no other is asked for."""
    return sql(cluster.cleared_database())
