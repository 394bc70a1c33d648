"""Writes many rows by one statement, which takes a tenth of the time of a statement each.

Such statements have parameters and are made once: to make one takes longer than to carry it out for a hundred keys.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    FromClause,
    Integer,
    String,
    Table,
    bindparam,
    case,
    column,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.dialects import sqlite

from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.store.sql.tables import keys, traffic_accounts, traffic_usage

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

_FEW = 1000
"""More values than this are not put into one statement: databases bound their number."""

_AT_ONCE = 1000
"""So many keys are in one statement that writes: it has to end within 1.8 seconds on a busy PostgreSQL too."""

_GIVEN: Final = "given"
_TYPES = {str: String, int: BigInteger}
BYTES: Final[Mapping[str, type]] = {"key_uuid": str, "up_bytes": int, "down_bytes": int}
"""The columns of `given_bytes`."""


def given(dialect: str, columns: Mapping[str, type]) -> FromClause:
    """Return a table for the FROM of a statement, whose rows are parameters: `rows_of` returns these."""
    if dialect == "sqlite":
        each = func.json_each(bindparam(_GIVEN, type_=String)).table_valued("value")
        found = (func.json_extract(each.c.value, f"$[{at}]").label(name) for at, name in enumerate(columns))
        return select(*found).subquery(_GIVEN)
    from sqlalchemy.dialects.postgresql import ARRAY  # noqa: PLC0415 - takes a tenth of the whole start

    types = {name: _TYPES[kind] for name, kind in columns.items()}
    arrays: list[ColumnElement[Any]] = [bindparam(_parameter(name), type_=ARRAY(kind)) for name, kind in types.items()]
    rows = func.unnest(*arrays).table_valued(*(column(name, kind) for name, kind in types.items()))
    return rows.render_derived(_GIVEN)


def rows_of(dialect: str, **columns: Sequence[str] | Sequence[int]) -> dict[str, object]:
    """Return the parameters of a statement with `given`. All columns have the same length."""
    if dialect == "sqlite":
        return {_GIVEN: orjson.dumps(list(zip(*columns.values(), strict=True))).decode()}
    return {_parameter(name): list(values) for name, values in columns.items()}


def _parameter(name: str) -> str:
    return f"{_GIVEN}_{name}"  # in an INSERT, a parameter with the name of a column is that column's value


def insert_into(dialect: str, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """Return an INSERT that can have ON CONFLICT, which SQLAlchemy has only in the two databases' own dialects."""
    if dialect == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - as above

    return postgresql.insert(table)


def is_few(uuids: Collection[str]) -> bool:
    """Return whether so many values can be put into one statement."""
    return len(uuids) <= _FEW


def those(column: ColumnElement[str], *, are_few: bool) -> ColumnElement[bool]:
    """Return a condition for the keys of `of_uuids`; all rows are read when many keys are asked for."""
    return column.in_(bindparam("of_uuids", expanding=True)) if are_few else true()


def of_uuids(uuids: Collection[str]) -> dict[str, object]:
    """Return the parameters of a statement with `those`."""
    return {"of_uuids": [*uuids]} if is_few(uuids) else {}


def among(column: ColumnElement[str], uuids: Collection[str]) -> ColumnElement[bool]:
    """Return a condition that leaves out most rows of other keys; all are read when many keys are asked for."""
    return column.in_(uuids) if is_few(uuids) else true()


def in_parts(uuids: Iterable[str]) -> Iterator[Sequence[str]]:
    """Return keys in parts, of which each is for one statement.

    In order, also within each: two who lock the same rows in another order each would wait for each other.
    """
    ordered = sorted(uuids)
    return (ordered[at : at + _AT_ONCE] for at in range(0, len(ordered), _AT_ONCE))


def given_bytes(dialect: str, uuids: Sequence[str], by_uuid: Mapping[str, Bytes]) -> dict[str, object]:
    """Return the bytes of keys as parameters of a statement that has `given` with `BYTES`."""
    ups, downs = ([by_uuid[uuid][at] for uuid in uuids] for at in (0, 1))
    return rows_of(dialect, key_uuid=uuids, up_bytes=ups, down_bytes=downs)


def raise_counters(connection: Connection, samples: Samples) -> dict[str, Bytes]:
    """Raise the counters of an epoch to those of a sample; return what that added, by UUID, without what is zero.

    One statement for each key, so that two who merge the same sample at one time cannot both add it: `up_added` and
    `down_added` are by how much a row was raised last. A counter never falls, and keys that do not exist are left out:
    one that was deleted since the reading would break the foreign key and lose the whole sample.
    """
    added: dict[str, Bytes] = {}
    dialect, life = connection.dialect.name, {"life_node": samples.node_id, "life_epoch": samples.epoch}
    for uuids in in_parts(samples.usage):
        raised = connection.execute(_raising(dialect), life | given_bytes(dialect, uuids, samples.usage))
        added |= {uuid: Bytes(*more) for uuid, *more in raised}
    return added


@cache
def _raising(dialect: str) -> Executable:
    """Return the statement of `raise_counters`: each row it changes comes back, with what that added."""
    sample, fresh, stored = given(dialect, BYTES), insert_into(dialect, traffic_usage), traffic_usage.c
    up, down = sample.c.up_bytes, sample.c.down_bytes
    life = bindparam("life_node", type_=Integer), bindparam("life_epoch", type_=String)
    rows = (
        select(sample.c.key_uuid, *life, up, down, up, down)
        .select_from(sample.join(keys, keys.c.uuid == sample.c.key_uuid))
        .where(up + down > 0)
        .order_by(sample.c.key_uuid)
    )
    more_up, more_down = fresh.excluded.up_bytes - stored.up_bytes, fresh.excluded.down_bytes - stored.down_bytes
    up_added, down_added = (case((more > 0, more), else_=0) for more in (more_up, more_down))
    raised = {
        "up_bytes": stored.up_bytes + up_added,
        "down_bytes": stored.down_bytes + down_added,
        "up_added": up_added,
        "down_added": down_added,
    }
    return (
        fresh.from_select(["key_uuid", "node_id", "epoch", *raised], rows)
        .on_conflict_do_update(
            index_elements=list(traffic_usage.primary_key), set_=raised, where=(more_up > 0) | (more_down > 0)
        )
        .returning(stored.key_uuid, stored.up_added, stored.down_added)
    )


def note_seen(connection: Connection, uuids: Iterable[str], at: datetime) -> None:
    """Note when keys were seen, and open the accounts that are missing."""
    dialect = connection.dialect.name
    for part in in_parts(uuids):
        connection.execute(_seeing(dialect), {"seen_at": at} | rows_of(dialect, key_uuid=part))


@cache
def _seeing(dialect: str) -> Executable:
    """Return the statement of `note_seen`."""
    seen, fresh = given(dialect, {"key_uuid": str}), insert_into(dialect, traffic_accounts)
    at = bindparam("seen_at", type_=traffic_accounts.c.last_seen_at.type)
    rows = select(seen.c.key_uuid, literal(0), literal(0), at).where(true()).order_by(seen.c.key_uuid)
    return fresh.from_select(["key_uuid", "base_bytes", "offset_bytes", "last_seen_at"], rows).on_conflict_do_update(
        index_elements=["key_uuid"], set_={"last_seen_at": fresh.excluded.last_seen_at}
    )
