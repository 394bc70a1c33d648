"""Reads the tables that a store keeps in memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, select

from vpnkeys.domain.change import Intent, Stop
from vpnkeys.domain.key import Key
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.webhook import Webhook
from vpnkeys.store.sql.outbox import read_webhooks
from vpnkeys.store.sql.rows import to_key, to_token
from vpnkeys.store.sql.tables import intents as intents_table
from vpnkeys.store.sql.tables import keys as keys_table
from vpnkeys.store.sql.tables import stops as stops_table
from vpnkeys.store.sql.tables import subscriptions as subscriptions_table
from vpnkeys.store.sql.tables import tokens as tokens_table

_ALL_KEYS = select(keys_table).order_by(keys_table.c.created_at, keys_table.c.id)
_ALL_TOKENS = select(tokens_table).order_by(tokens_table.c.created_at, tokens_table.c.id)
_ALL_SUBSCRIPTIONS = select(subscriptions_table)
_ALL_INTENTS = select(intents_table)
_ALL_STOPS = select(stops_table)


@dataclass(frozen=True, slots=True)
class Tables:
    """Holds the tables that are kept in memory: each as of its generation, all of them right at `version`."""

    version: int | None = None
    generations: Mapping[str, int] = field(default_factory=dict)
    keys: tuple[Key, ...] = ()
    tokens: tuple[Token, ...] = ()
    subscriptions: Mapping[str, Subscription] = field(default_factory=dict)
    webhooks: tuple[Webhook, ...] = ()
    intents: tuple[Intent, ...] = ()
    stops: tuple[Stop, ...] = ()


def read_all(connection: Connection) -> Tables:
    """Return all these tables."""
    return Tables(**{name: read(connection) for name, read in _READERS.items()})


def read_changed(connection: Connection, old: Tables, generations: Mapping[str, int]) -> Tables:
    """Return the old tables with those read again whose generation changed."""
    changed = [name for name in _READERS if old.generations.get(name) != generations.get(name)]
    return replace(old, generations=generations, **{name: _READERS[name](connection) for name in changed})


def _read_keys(connection: Connection) -> tuple[Key, ...]:
    rows = connection.execute(_ALL_KEYS)
    return tuple(to_key(row._mapping) for row in rows)  # noqa: SLF001 - SQLAlchemy's public name for it


def _read_tokens(connection: Connection) -> tuple[Token, ...]:
    rows = connection.execute(_ALL_TOKENS)
    return tuple(to_token(row._mapping) for row in rows)  # noqa: SLF001 - as above


def _read_subscriptions(connection: Connection) -> dict[str, Subscription]:
    found = (Subscription(*row) for row in connection.execute(_ALL_SUBSCRIPTIONS))
    return {subscription.token_hash: subscription for subscription in found}


def _read_intents(connection: Connection) -> tuple[Intent, ...]:
    return tuple(Intent(*row) for row in connection.execute(_ALL_INTENTS))


def _read_stops(connection: Connection) -> tuple[Stop, ...]:
    return tuple(Stop(*row) for row in connection.execute(_ALL_STOPS))


# The names are those of the tables, of their generations and of the fields of `Tables`.
_READERS: Mapping[str, Callable[[Connection], Any]] = {
    "keys": _read_keys,
    "tokens": _read_tokens,
    "subscriptions": _read_subscriptions,
    "webhooks": read_webhooks,
    "intents": _read_intents,
    "stops": _read_stops,
}
