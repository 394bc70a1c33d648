"""Reads the tables that a store keeps in memory."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, select

from vpnkeys.domain.change import Intent, Stop
from vpnkeys.domain.key import ID, Keys
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
from vpnkeys.store.sql.tables import doors as doors_table
from vpnkeys.store.sql.tables import intents as intents_table
from vpnkeys.store.sql.tables import keys as keys_table
from vpnkeys.store.sql.tables import nodes as nodes_table
from vpnkeys.store.sql.tables import stops as stops_table
from vpnkeys.store.sql.tables import subscriptions as subscriptions_table
from vpnkeys.store.sql.tables import tokens as tokens_table

_ALL_KEYS = select(keys_table).order_by(keys_table.c.number)
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
    if not changed.isdisjoint({"keys", "nodes"}):  # a key knows its node's name
        read = _read_keys(connection, found.get("nodes", old.nodes))
        # What has not changed stays the same object: what is kept of it is then right without a look at its fields.
        known = old.keys.by(ID)
        found["keys"] = Keys(
            was if (was := known.get(key.id)) == key and was.number == key.number else key for key in read
        )
    return replace(old, generations=generations, **found)


def _read_keys(connection: Connection, nodes: Iterable[NodeRecord]) -> Keys:
    # All keys of a node have the same object, which is compared and kept at no cost.
    reader = KeyReader({node.ref.id: node.ref for node in nodes})
    rows = connection.execute(_ALL_KEYS)
    return Keys.of(reader.key(row._mapping) for row in rows)  # noqa: SLF001 - SQLAlchemy's public name for it


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
