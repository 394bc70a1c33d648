"""A database of many keys and days, made by SQL, and the plans of the statements that a store sends to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, event, text

FIRST_DAY = date(2026, 1, 1)
_LARGE = 10_000
_HOURS = tuple(f"{way}_{hour:02}" for hour in (8, 12, 19, 20) for way in ("up", "down"))


@dataclass(frozen=True)
class Size:
    """How large it is."""

    keys: int
    days: int

    @property
    def last_day(self) -> date:
        """The day of the newest rows."""
        return FIRST_DAY + timedelta(days=self.days - 1)


def uuid_of(number: int) -> str:
    """The UUID of a key."""
    return str(UUID(int=number))


def fill(engine: Engine, size: Size) -> None:
    """Make the keys, each with four hours of traffic on each day and in two lives of Xray, and collect statistics."""
    is_sqlite = engine.dialect.name == "sqlite"
    with engine.connect().execution_options(writes=True, unhurried=True) as connection, connection.begin():
        if not is_sqlite:
            # A port is unique on a node, which has 65,535: so many keys are on several of them.
            connection.execute(text("ALTER TABLE keys DROP CONSTRAINT uq_keys_port"))
            connection.execute(text("CREATE INDEX ix_keys_port ON keys (port)"))
            for day in range(size.days):
                connection.execute(text("SELECT make_history_day(:day)"), {"day": FIRST_DAY + timedelta(days=day)})
        _insert_keys(connection, size, is_sqlite=is_sqlite)
        _insert_traffic(connection, size, is_sqlite=is_sqlite)
        connection.execute(text("ANALYZE"))


def _insert_keys(connection: Connection, size: Size, *, is_sqlite: bool) -> None:
    identity = (
        "printf('%08x-%04x-%04x-%04x-%012x', 0, 0, 0, 0, n)" if is_sqlite else "lpad(to_hex(n), 32, '0')::uuid::text"
    )
    short_id = "printf('%016x', n)" if is_sqlite else "lpad(to_hex(n), 16, '0')"
    connection.execute(
        text(
            "INSERT INTO keys (id, name, uuid, created_at, is_active, port, short_id, sni, flow, number) "  # noqa: S608
            f"SELECT {identity}, 'customer ' || n, {identity}, :at, :yes, n % 65535 + 1, {short_id}, 'a.test', '', n "
            f"FROM {_numbers('n', size.keys, is_sqlite=is_sqlite)}"
        ),
        {"yes": True, "at": "2025-12-31 12:00:00.000000" if is_sqlite else FIRST_DAY},
    )


def _insert_traffic(connection: Connection, size: Size, *, is_sqlite: bool) -> None:
    day = f"date('{FIRST_DAY}', '+' || d || ' days')" if is_sqlite else f"date '{FIRST_DAY}' + d"
    hours = len(_HOURS) // 2
    connection.execute(
        text(
            f"INSERT INTO traffic_history (day, key_number, up_bytes, down_bytes, {', '.join(_HOURS)}) "  # noqa: S608
            f"SELECT {day}, number, {hours}, {hours}, {', '.join('1' for _ in _HOURS)} "
            f"FROM {_numbers('d', size.days, start=0, is_sqlite=is_sqlite)}, keys"
        )
    )
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
