"""A database of many keys and days, made by SQL, and the plans of the statements that a store sends to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, event, text

FIRST_DAY = date(2026, 1, 1)
MADE_AT = datetime(2025, 12, 1, 12)  # noqa: DTZ001 - UTC without an offset, as everywhere
_OLD_DAYS = 10
"""So many days before that have been folded."""

_HOURS = tuple(f"{way}_{hour:02}" for hour in (8, 12, 19, 20) for way in ("up", "down"))
_USED = len(_HOURS) // 2
"""A byte in each of those hours."""

_LARGE = 10_000
_CACHE_KIB = 512 * 1024


@dataclass(frozen=True)
class Size:
    """How large it is."""

    keys: int
    days: int
    used_every: int = 1
    """On most days one key in so many has traffic: days of all keys take minutes to make, and are read no other way."""

    @property
    def last_day(self) -> date:
        """The day of the newest rows."""
        return FIRST_DAY + timedelta(days=self.days - 1)


def uuid_of(number: int) -> str:
    """The UUID of a key."""
    return str(UUID(int=number))


def fill(engine: Engine, size: Size) -> None:
    """Make the keys with four hours of traffic on each day, older days without hours, and two lives of Xray.

    Statistics are collected in the end. What is inserted is right by itself: nothing checks its foreign keys.
    """
    is_sqlite = engine.dialect.name == "sqlite"
    with engine.connect().execution_options(writes=True, unhurried=True, durable=False) as connection:
        if is_sqlite:
            for pragma in ("foreign_keys=OFF", f"cache_size=-{_CACHE_KIB}"):
                _driver(connection).execute(f"PRAGMA {pragma}")
        with connection.begin():
            if not is_sqlite:
                connection.execute(text("SET LOCAL session_replication_role = replica"))
            _insert_keys(connection, size, is_sqlite=is_sqlite)
            _insert_days(connection, size)
            _insert_counters(connection)
            connection.execute(text("ANALYZE"))
        connection.invalidate()  # so that nobody gets one without its checks


def _driver(connection: Connection) -> Any:  # noqa: ANN401 - each database's own
    return connection.connection.driver_connection


def _insert_keys(connection: Connection, size: Size, *, is_sqlite: bool) -> None:
    identity = (
        "printf('%08x-%04x-%04x-%04x-%012x', 0, 0, 0, 0, n)" if is_sqlite else "lpad(to_hex(n), 32, '0')::uuid::text"
    )
    # A port is unique on a node, which has 65,535: so many keys are on several of them.
    for number in range(2, size.keys // 65535 + 2):
        connection.execute(text("INSERT INTO nodes (name) VALUES (:name)"), {"name": f"node {number}"})
    short_id = "printf('%016x', n)" if is_sqlite else "lpad(to_hex(n), 16, '0')"
    connection.execute(
        text(
            "INSERT INTO keys (id, name, uuid, created_at, is_active, node_id, port, short_id, sni, flow, number) "  # noqa: S608
            f"SELECT {identity}, 'customer ' || n, {identity}, '{MADE_AT:%Y-%m-%d %H:%M:%S.%f}', true, "
            f"n / 65535 + 1, n % 65535 + 1, {short_id}, 'a.test', '', n "
            f"FROM {_numbers('n', size.keys, is_sqlite=is_sqlite)}"
        ),
    )


def _insert_days(connection: Connection, size: Size) -> None:
    """Day by day, as each has a place of its own on the disk."""
    sums, of_sums = "day, key_number, up_bytes, down_bytes", f"number, {_USED}, {_USED}"
    hours, of_hours = ", ".join(_HOURS), ", ".join("1" for _ in _HOURS)
    whole = {-_OLD_DAYS, 0, size.days - 2, size.days - 1}
    for back in range(-_OLD_DAYS, size.days):
        day = FIRST_DAY + timedelta(days=back)
        every = 1 if back in whole else size.used_every
        table, columns, values = "traffic_days", sums, of_sums
        if back >= 0:
            table, columns, values = "traffic_history", f"{sums}, {hours}", f"{of_sums}, {of_hours}"
            if connection.dialect.name != "sqlite":
                connection.execute(text(f"SELECT make_history_day('{day}')"))
        rows = f"SELECT '{day}', {values} FROM keys WHERE number % {every} = 0 ORDER BY number"  # noqa: S608
        connection.execute(text(f"INSERT INTO {table} ({columns}) {rows}"))


def _insert_counters(connection: Connection) -> None:
    for life in ("life-1", "life-2"):
        connection.execute(
            text(
                "INSERT INTO traffic_usage (key_uuid, epoch, up_bytes, down_bytes) "
                "SELECT uuid, :life, number, 2 * number FROM keys"
            ),
            {"life": life},
        )
    connection.execute(
        text("INSERT INTO traffic_accounts (key_uuid, base_bytes, offset_bytes) SELECT uuid, 0, 0 FROM keys")
    )


def _numbers(name: str, count: int, *, is_sqlite: bool, start: int = 1) -> str:
    """A table of whole numbers."""
    if not is_sqlite:
        return f"generate_series({start}, {start + count - 1}) AS {name}"
    series = f"WITH RECURSIVE c({name}) AS (SELECT {start} UNION ALL SELECT {name} + 1 FROM c LIMIT {count})"  # noqa: S608
    return f"({series} SELECT {name} FROM c)"  # noqa: S608 - our own words


@dataclass
class Plans:
    """The plans of statements, as the database says them."""

    texts: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n\n".join(self.texts)


@contextmanager
def plans_of(engine: Engine, size: Size) -> Iterator[Plans]:
    """Collect the plans of all statements that read or change rows during the block, with their own parameters.

    PostgreSQL rightly reads a small table whole. It is asked there what it does where it may not, and whether it can.
    """
    avoids_scans = engine.dialect.name == "postgresql" and size.keys < _LARGE
    found = Plans()
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"

    def note(_connection: object, cursor: Any, statement: str, parameters: Any, *more: Any) -> None:  # noqa: ANN401
        if not statement.lstrip().upper().startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
            return
        if avoids_scans:
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"{explain} {statement}", parameters[0] if more[-1] else parameters)
        rows = "\n".join(str(row[-1]) for row in cursor.fetchall())
        found.texts.append(f"{statement}\n{rows}")

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


@contextmanager
def given_rows(engine: Engine) -> Iterator[list[int]]:
    """Collect how many rows each statement is given during the block, where it is given any."""
    found: list[int] = []

    def note(_connection: object, _cursor: object, _statement: str, parameters: Any, *_more: object) -> None:  # noqa: ANN401
        values = parameters.values() if isinstance(parameters, dict) else parameters
        lists = (json.loads(one) if isinstance(one, str) and one.startswith("[") else one for one in values)
        found.extend([max(lengths)] if (lengths := [len(one) for one in lists if isinstance(one, list)]) else [])

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)
