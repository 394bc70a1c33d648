"""Copies all rows of a database into an empty one of any kind, and compares both row by row."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, Integer, Table, delete, func, insert, select, text

from vpnkeys.domain.errors import Rejected
from vpnkeys.domain.nodes import LOCAL
from vpnkeys.store.sql.tables import changed_keys, generations, metadata, nodes, traffic_history

_AT_ONCE = 1000
_DIGEST_BITS = 128


class MoveRefused(Rejected):
    """Raised when a database cannot be moved to another; both are as they were."""

    code = "move_refused"


@dataclass(frozen=True, slots=True)
class Copied:
    """A table that was copied, and how many rows it has."""

    table: str
    rows: int


class _Digest:
    """Adds up what rows are, whatever their order: databases sort texts in different ways."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def noting(self, rows: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
        """Yield the rows, and count them in."""
        for row in rows:
            self.rows += 1
            found = blake2b(repr(tuple(row)).encode(), digest_size=_DIGEST_BITS // 8).digest()
            self._sum = (self._sum + int.from_bytes(found)) % 2**_DIGEST_BITS
            yield row

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Digest) and (self.rows, self._sum) == (other.rows, other._sum)

    __hash__ = None  # type: ignore[assignment]


def copy_all(source: Connection, target: Connection) -> tuple[Copied, ...]:
    """Copy all tables inside two transactions, and read what was written again to compare it.

    Raises MoveRefused when the target has rows already, or not the same ones afterwards. What servers see
    changes by is not copied: triggers of the target count its own.
    """
    tables = [table for table in metadata.sorted_tables if table not in {generations, changed_keys}]
    _refuse_unless_empty(target, tables)
    target.execute(delete(nodes))  # the built-in one, which a migration makes; it comes with the others
    copied = []
    for table in tables:
        given, found = _Digest(), _Digest()
        if table is traffic_history and target.dialect.name == "postgresql":
            _make_partitions(source, target)
        _write(target, table, given.noting(_rows_of(source, table)))
        for _ in found.noting(_rows_of(target, table)):
            pass
        if given != found:
            msg = f"table {table.name} has {given.rows} rows, and as many as {found.rows} other ones were stored"
            raise MoveRefused(msg)
        copied.append(Copied(f"{table.name}", given.rows))  # a plain text, which JSON takes as a name
    if target.dialect.name == "postgresql":
        _set_sequences(target, tables)
    return tuple(copied)


def _refuse_unless_empty(target: Connection, tables: Iterable[Table]) -> None:
    for table in tables:
        wanted = select(*table.primary_key).limit(1)
        if target.execute(wanted.where(nodes.c.id != LOCAL.id) if table is nodes else wanted).first() is not None:
            msg = f"table {table.name} has rows already; give an empty database"
            raise MoveRefused(msg)


def _rows_of(connection: Connection, table: Table) -> Iterator[Sequence[Any]]:
    # As a stream, because the history may be larger than the memory.
    result = connection.execute(select(table).execution_options(yield_per=_AT_ONCE))
    for some in result.partitions():
        yield from some


def _write(target: Connection, table: Table, rows: Iterator[Sequence[Any]]) -> None:
    names = [column.name for column in table.columns]
    some: list[dict[str, Any]] = []
    for row in rows:
        some.append(dict(zip(names, row, strict=True)))
        if len(some) == _AT_ONCE:
            target.execute(insert(table), some)
            some = []
    if some:
        target.execute(insert(table), some)


def _make_partitions(source: Connection, target: Connection) -> None:
    for day in source.scalars(select(traffic_history.c.day).distinct()).all():
        target.execute(select(func.make_history_day(day)))


def _set_sequences(target: Connection, tables: Iterable[Table]) -> None:
    """Let numbers that the database gives itself go on after those that were copied."""
    for table in tables:
        own = table.autoincrement_column
        if own is not None and isinstance(own.type, Integer) and own.autoincrement is True:
            last = f"(SELECT max({own.name}) FROM {table.name})"  # noqa: S608 - our own names
            sequence = f"pg_get_serial_sequence('{table.name}', '{own.name}')"
            target.execute(text(f"SELECT setval({sequence}, {last}) WHERE {last} IS NOT NULL"))
