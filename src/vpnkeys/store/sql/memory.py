"""Reads the tables that a store keeps in memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, bindparam, select

from vpnkeys.domain.change import Intent, Stop
from vpnkeys.domain.key import ID, Key, Keys
from vpnkeys.domain.making.placing import Placing
from vpnkeys.domain.nodes import NodeRecord
from vpnkeys.domain.nodes.door import Door
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.webhook import Webhook
from vpnkeys.interfaces import ForNodes
from vpnkeys.store.sql.nodes.placing import read_placing
from vpnkeys.store.sql.outbox import read_webhooks
from vpnkeys.store.sql.rows import KeyReader, to_door, to_node, to_token
from vpnkeys.store.sql.tables import changed_keys
from vpnkeys.store.sql.tables import doors as doors_table
from vpnkeys.store.sql.tables import intents as intents_table
from vpnkeys.store.sql.tables import keys as keys_table
from vpnkeys.store.sql.tables import nodes as nodes_table
from vpnkeys.store.sql.tables import stops as stops_table
from vpnkeys.store.sql.tables import subscriptions as subscriptions_table
from vpnkeys.store.sql.tables import tokens as tokens_table
from vpnkeys.store.sql.triggers import CHANGED_KEYS

_ALL_KEYS = select(keys_table).order_by(keys_table.c.number)
_MOST_CHANGED = 1000
"""When more keys have changed, all are read: to find them one by one would take as long."""
_CHANGED_IDS = select(changed_keys.c.key_id).where(changed_keys.c.number > bindparam("since")).limit(_MOST_CHANGED + 1)
_SOME_KEYS = select(keys_table).where(keys_table.c.id.in_(bindparam("ids", expanding=True)))
_ALL_TOKENS = select(tokens_table).order_by(tokens_table.c.created_at, tokens_table.c.id)
_ALL_SUBSCRIPTIONS = select(subscriptions_table).order_by(subscriptions_table.c.position)
_ALL_NODES = select(nodes_table).order_by(nodes_table.c.id)
_ALL_DOORS = select(doors_table).order_by(doors_table.c.port)
_ALL_INTENTS = select(*(intents_table.c[name] for name in ("key_id", "uuid", "port", "short_id", "at", "node_id")))
_ALL_STOPS = select(stops_table)


@dataclass(frozen=True, slots=True)
class Tables:
    """Holds the tables that are kept in memory: each as of its generation, all of them right at `version`."""

    version: int | None = None
    generations: Mapping[str, int] = field(default_factory=dict)
    keys: Keys = field(default_factory=Keys)
    tokens: tuple[Token, ...] = ()
    subscriptions: Mapping[str, Subscription] = field(default_factory=dict)
    webhooks: tuple[Webhook, ...] = ()
    intents: tuple[Intent, ...] = ()
    stops: tuple[Stop, ...] = ()
    nodes: tuple[NodeRecord, ...] = ()
    doors: tuple[Door, ...] = ()
    placements: tuple[Placing, ...] = ()

    @property
    def revision(self) -> int:
        """Return a number that grows with each change of what nodes should have."""
        return sum(self.generations[name] for name in ("keys", "stops", "placements"))

    def is_as_new_as(self, other: "Tables") -> bool:
        """Return whether these have seen all changes that the others have."""
        return all(self.generations.get(name, 0) >= number for name, number in other.generations.items())

    def for_nodes(self) -> ForNodes:
        """Return what nodes elsewhere should have."""
        return ForNodes(self.revision, self.keys, self.stops, self.placements)


def read_changed(connection: Connection, old: Tables, generations: Mapping[str, int]) -> Tables:
    """Return the old tables with those read again whose generation changed."""
    changed = {name for name in (*_READERS, "keys") if old.generations.get(name) != generations.get(name)}
    found = {name: read(connection) for name, read in _READERS.items() if name in changed}
    nodes = found.get("nodes", old.nodes)
    is_renamed = bool({node.ref for node in old.nodes} - {node.ref for node in nodes})  # a key knows its node's name
    if is_renamed or "keys" in changed:
        ids = None if is_renamed else _ids_changed(connection, old.generations, generations)
        reader = KeyReader({node.ref.id: node.ref for node in nodes})  # keys of a node share what it is called by
        found["keys"] = (
            _read_all(connection, reader, old.keys) if ids is None else _read_those(connection, reader, old.keys, ids)
        )
    return replace(old, generations=generations, **found)


def _ids_changed(connection: Connection, old: Mapping[str, int], new: Mapping[str, int]) -> list[str] | None:
    """Return the ids of the keys that were changed or deleted since; None where it is not known, or many were."""
    if CHANGED_KEYS not in new or old.get(CHANGED_KEYS) != new[CHANGED_KEYS] or not old["keys"] <= new["keys"]:
        return None  # the first look, a table that was emptied, or a database that was put back
    ids = [*connection.scalars(_CHANGED_IDS, {"since": old["keys"]})]
    return ids if len(ids) <= _MOST_CHANGED else None


def _read_those(connection: Connection, reader: KeyReader, old: Keys, ids: list[str]) -> Keys:
    """Return the old keys, with those read again that have these ids."""
    rows = connection.execute(_SOME_KEYS, {"ids": ids})
    there = [reader.key(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it
    known = old.by(ID)
    come = [key for key in there if not _is_same(known.get(key.id), key)]
    return old.changed({*ids} - {key.id for key in there}, come)


def _read_all(connection: Connection, reader: KeyReader, old: Keys) -> Keys:
    read = Keys.of(reader.key(row._mapping) for row in connection.execute(_ALL_KEYS))  # noqa: SLF001 - as above
    # What has not changed stays the same object: what is kept of it is then right without a look at its fields.
    known = old.by(ID)
    return Keys(was if _is_same(was := known.get(key.id), key) else key for key in read)


def _is_same(was: Key | None, key: Key) -> bool:
    return was is not None and was == key and was.number == key.number


def _read_nodes(connection: Connection) -> tuple[NodeRecord, ...]:
    rows = connection.execute(_ALL_NODES)
    return tuple(to_node(row._mapping) for row in rows)  # noqa: SLF001 - as above


def _read_doors(connection: Connection) -> tuple[Door, ...]:
    rows = connection.execute(_ALL_DOORS)
    return tuple(to_door(row._mapping) for row in rows)  # noqa: SLF001 - as above


def _read_tokens(connection: Connection) -> tuple[Token, ...]:
    rows = connection.execute(_ALL_TOKENS)
    return tuple(to_token(row._mapping) for row in rows)  # noqa: SLF001 - as above


def _read_subscriptions(connection: Connection) -> dict[str, Subscription]:
    found: dict[str, Subscription] = {}
    for row in connection.execute(_ALL_SUBSCRIPTIONS):
        before = found[row.token_hash].key_ids if row.token_hash in found else ()
        found[row.token_hash] = Subscription(row.id, (*before, row.key_id), row.token_hash, row.created_at)
    return found


def _read_intents(connection: Connection) -> tuple[Intent, ...]:
    return tuple(Intent(*row) for row in connection.execute(_ALL_INTENTS))


def _read_stops(connection: Connection) -> tuple[Stop, ...]:
    return tuple(Stop(*row) for row in connection.execute(_ALL_STOPS))


# The names are those of the tables, of their generations and of the fields of `Tables`. Keys are read last.
_READERS: Mapping[str, Callable[[Connection], Any]] = {
    "tokens": _read_tokens,
    "subscriptions": _read_subscriptions,
    "webhooks": read_webhooks,
    "intents": _read_intents,
    "stops": _read_stops,
    "nodes": _read_nodes,
    "doors": _read_doors,
    "placements": read_placing,
}
