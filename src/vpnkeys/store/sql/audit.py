"""The audit log in an SQL database: rows are added and read, never altered."""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select

from vpnkeys.domain.actor import current_actor
from vpnkeys.domain.audit import Entry, Outcome, Record
from vpnkeys.store.sql.rows import record_row, to_record
from vpnkeys.store.sql.tables import audit

_INSERT = insert(audit)


def utc_now() -> datetime:
    """The time of a record: UTC, without an offset."""
    return datetime.now(UTC).replace(tzinfo=None)


def write_records(
    connection: Connection, entries: Iterable[Entry], at: datetime, outcome: Outcome, detail: str = ""
) -> None:
    """Add records of what the present actor did."""
    rows = [record_row(entry, current_actor(), at, outcome, detail) for entry in entries]
    if rows:
        connection.execute(_INSERT, rows)


def read_records(connection: Connection, limit: int, before_id: int | None, subject: str | None) -> tuple[Record, ...]:
    """The newest records, newest first."""
    wanted = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before_id is not None:
        wanted = wanted.where(audit.c.id < before_id)
    if subject is not None:
        wanted = wanted.where(audit.c.subject == subject)
    return tuple(to_record(row._mapping) for row in connection.execute(wanted))  # noqa: SLF001 - SQLAlchemy's public name for it
