"""Adds and reads rows of the audit log in an SQL database; none is ever altered."""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select

from vpnkeys.domain.actor import current_actor
from vpnkeys.domain.audit import Entry, Filter, Outcome, Record
from vpnkeys.domain.key import spelled
from vpnkeys.store.sql.rows import record_row, to_record
from vpnkeys.store.sql.tables import audit

_INSERT = insert(audit)


def utc_now() -> datetime:
    """Return the time of a record: now, UTC without an offset."""
    return datetime.now(UTC).replace(tzinfo=None)


def write_records(
    connection: Connection, entries: Iterable[Entry], at: datetime, outcome: Outcome, detail: str = ""
) -> None:
    """Add a record for each entry, with the present actor (`domain.actor`)."""
    rows = [record_row(entry, current_actor(), at, outcome, detail) for entry in entries]
    if rows:
        connection.execute(_INSERT, rows)


def read_records(
    connection: Connection, limit: int, before_id: int | None, subject: str | None, chosen: Filter
) -> tuple[Record, ...]:
    """Return up to `limit` chosen records, newest first; where given, only those before a record or about a subject."""
    # No stored text has a NUL: PostgreSQL refuses to compare with one, and SQLite would compare what is before it.
    if any("\0" in asked for asked in (subject or "", chosen.action, chosen.actor)):
        return ()
    wanted = select(audit).order_by(audit.c.id.desc()).limit(limit)
    # By id, not by an offset: a page stays right while new records are added in front of it.
    if before_id is not None:
        wanted = wanted.where(audit.c.id < before_id)
    if subject is not None:
        wanted = wanted.where(audit.c.subject.in_(spelled(subject)))
    if chosen.action:
        exact = audit.c.action == chosen.action
        wanted = wanted.where(exact | audit.c.action.startswith(f"{chosen.action}.", autoescape=True))
    if chosen.actor:
        wanted = wanted.where(audit.c.actor.icontains(chosen.actor, autoescape=True))
    if chosen.outcome is not None:
        wanted = wanted.where(audit.c.outcome == chosen.outcome.value)
    return tuple(to_record(row._mapping) for row in connection.execute(wanted))  # noqa: SLF001 - SQLAlchemy's public name for it
