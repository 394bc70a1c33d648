"""Compares two databases of one server: what was made, removed and changed from the earlier to the later one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, func, select

from vpnkeys.store.sql.opening import open_migrated
from vpnkeys.store.sql.tables import (
    audit,
    epochs,
    keys,
    subscriptions,
    tokens,
    traffic_accounts,
    traffic_usage,
    webhooks,
)

_Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Things of one kind: their rows, the columns that tell them apart, and the one by which a person knows them.

    `by_itself` are columns that change without an order, or are another number for the same.
    """

    name: str
    rows: Select[*tuple[Any, ...]]
    ids: tuple[str, ...]
    shown: str
    by_itself: frozenset[str] = frozenset()


# A reset of traffic is an order to a key, though it stands in the key's account, which the first byte opens.
_RESET = func.coalesce(traffic_accounts.c.offset_bytes, 0).label("reset_bytes")
_KEYS = select(keys, _RESET).outerjoin(traffic_accounts, traffic_accounts.c.key_uuid == keys.c.uuid)
_KINDS = (
    _Kind("keys", _KEYS, ("id",), "name", frozenset({"judged", "number"})),
    _Kind("tokens", select(tokens), ("id",), "name", frozenset({"last_used_at"})),
    _Kind("subscriptions", select(subscriptions), ("id", "key_id"), "id"),
    _Kind("webhooks", select(webhooks), ("id",), "url"),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """The names of things of one kind that were made, removed and changed, each in alphabetical order."""

    kind: str
    made: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Differences:
    """What happened from an earlier to a later database.

    `counted_bytes` is what keys of both have used in between, `ended_bytes` the part of it that Xray counted in lives
    that have ended: its counters do not tell it again.
    """

    things: tuple[Difference, ...]
    audit_entries: int
    counted_bytes: int
    ended_bytes: int


def compare(earlier: Path, later: Path) -> Differences:
    """Return what differs between two SQLite files, which are brought to this version: give copies.

    Raises StoreUnavailable for a database of a newer version, and DatabaseDamaged.
    """
    engines = [open_migrated(f"sqlite:///{file}") for file in (earlier, later)]
    try:
        with engines[0].connect() as before, engines[1].connect() as after:
            counted, ended = _traffic(before, after)
            things = tuple(_difference(kind, before, after) for kind in _KINDS)
            return Differences(things, max(_entries(after) - _entries(before), 0), counted, ended)
    finally:
        for engine in engines:
            engine.dispose()


def _entries(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(audit)).scalar_one()


def _difference(kind: _Kind, before: Connection, after: Connection) -> Difference:
    old, new = (_by_id(kind, connection) for connection in (before, after))
    return Difference(
        kind.name,
        made=_names(kind, (row for id_, row in new.items() if id_ not in old)),
        removed=_names(kind, (row for id_, row in old.items() if id_ not in new)),
        changed=_names(kind, (row for id_, row in new.items() if id_ in old and _is_ordered(kind, row, old[id_]))),
    )


def _by_id(kind: _Kind, connection: Connection) -> dict[tuple[Any, ...], _Row]:
    rows = connection.execute(kind.rows).mappings().all()
    return {tuple(row[column] for column in kind.ids): {str(name): row[name] for name in row} for row in rows}


def _is_ordered(kind: _Kind, row: _Row, earlier: _Row) -> bool:
    """Return whether two rows of the same thing differ in what does not change by itself."""
    return any(row[name] != earlier[name] for name in row.keys() - kind.by_itself)


def _names(kind: _Kind, rows: Iterable[_Row]) -> tuple[str, ...]:
    # By the first of its ids, as a subscription has a row for each key. Two keys may have one name.
    return tuple(sorted({row[kind.ids[0]]: str(row[kind.shown]) for row in rows}.values()))


def _traffic(before: Connection, after: Connection) -> tuple[int, int]:
    """Return how many bytes were counted in between of keys that are in both, and how many of them in ended lives."""
    usage = select(traffic_usage, traffic_usage.c.up_bytes + traffic_usage.c.down_bytes)
    old, new = (
        {(uuid, node, epoch): up + down for uuid, node, epoch, up, down, *_ in connection.execute(usage)}
        for connection in (before, after)
    )
    known = set(before.execute(select(keys.c.uuid)).scalars())
    running = select(epochs.c.node_id, epochs.c.epoch).where(epochs.c.ended_at.is_(None))
    lives = {(node, epoch) for node, epoch in after.execute(running)}
    grown = {place: size - old.get(place, 0) for place, size in new.items() if place[0] in known}
    return sum(grown.values()), sum(size for (_, *life), size in grown.items() if tuple(life) not in lives)
