"""Stores keys that are being placed on nodes elsewhere."""

from collections.abc import Collection, Iterable
from datetime import datetime
from functools import cache

from pydantic import TypeAdapter
from sqlalchemy import Connection, Table, delete, insert, select

from vpnkeys.domain.key import Key
from vpnkeys.domain.making.placing import Placing
from vpnkeys.store.sql.nodes.tables import metadata, placements

_ALL = select(placements).order_by(placements.c.key_id)


def read_placing(connection: Connection) -> tuple[Placing, ...]:
    """Return all keys that are being placed."""
    return tuple(
        Placing(_as_json().validate_json(body), owner, answer_hash)
        for _, body, owner, answer_hash in connection.execute(_ALL)
    )


def write_placings(connection: Connection, placings: Iterable[Placing]) -> None:
    """Add keys that are being placed."""
    rows = [
        {
            "key_id": one.key.id,
            "body": _as_json().dump_json(one.key).decode(),
            "owner": one.owner,
            "answer_hash": one.answer_hash,
        }
        for one in placings
    ]
    if rows:
        connection.execute(insert(placements), rows)


def delete_placings(connection: Connection, key_ids: Collection[str], owner: str | None) -> int:
    """Delete those of these keys that an owner (None: any) is placing; return how many."""
    these = placements.c.key_id.in_(key_ids)
    gone = delete(placements).where(these if owner is None else these & (placements.c.owner == owner))
    return connection.execute(gone).rowcount if key_ids else 0


def is_known_answer(connection: Connection, answer_hash: str, since: datetime) -> bool:
    """Return whether a request was answered since then, or is being carried out by any server."""
    kept = _answers()
    answered = select(kept.c.key_hash).where(kept.c.key_hash == answer_hash, kept.c.created_at >= since)
    under_way = select(placements.c.key_id).where(placements.c.answer_hash == answer_hash)
    return any(connection.execute(one).first() is not None for one in (answered, under_way))


def _answers() -> Table:
    return metadata.tables["idempotency"]


@cache
def _as_json() -> TypeAdapter[Key]:
    """Return the converter, which is built at its first use: building it takes time that most servers can spare."""
    return TypeAdapter(Key)
