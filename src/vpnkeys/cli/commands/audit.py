"""`vpnkeys audit`: every change, who made it, and how it ended."""

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

import typer

from vpnkeys.cli.output.plain import plain, plain_json
from vpnkeys.cli.output.tables import table_of, to_second
from vpnkeys.cli.remote import Session, asks_server
from vpnkeys.client import AuditRecord

_MOST = 1000
_EVERY_S = 1.0


@asks_server
def audit(
    session: Session,
    *,
    subject: Annotated[
        str | None, typer.Option("--key", "--subject", metavar="ID", help="Only what was done to this key or token.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="How many of the newest.")] = 100,
    before: Annotated[int | None, typer.Option(min=1, help="Only records older than the one with this number.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what happens now, a line each, until Ctrl-C.")
    ] = False,
) -> None:
    """The newest changes, newest first; with --follow oldest first, and as JSON one document a line."""
    records = session.server.audit.list(limit, before, subject)
    if follow:
        with suppress(KeyboardInterrupt):
            _follow(session, records, subject)
        return
    rows = [(one.id, to_second(one.at), _who(one), one.action, one.subject, one.outcome, _what(one)) for one in records]
    titles = (">No", "At (UTC)", "Who", "What", "Subject", "Outcome", "Change")
    session.tell([one.as_sent() for one in records], table_of(titles, rows))


def _follow(session: Session, records: list[AuditRecord], subject: str | None) -> None:
    last = 0
    while True:
        for record in reversed(records):
            print(plain_json(record.as_sent(), indent=None) if session.as_json else _line(record))
        sys.stdout.flush()
        last = records[0].id if records else last
        time.sleep(_EVERY_S)
        records = list(_newer_than(last, session, subject))


def _newer_than(last: int, session: Session, subject: str | None) -> Iterator[AuditRecord]:
    """Newest first, over as many pages as it takes."""
    before = None
    while page := session.server.audit.list(_MOST, before, subject):
        yield from (record for record in page if record.id > last)
        before = page[-1].id
        if before <= last:
            return


def _line(record: AuditRecord) -> str:
    told = (to_second(record.at), _who(record), record.action, record.subject, record.outcome, _what(record))
    return plain("  ".join(str(part) for part in told if part))


def _who(record: AuditRecord) -> str:
    return f"{record.actor} ({record.origin})" if record.origin else record.actor


def _what(record: AuditRecord) -> str:
    """What differs, as people say it; the reason of a failure first."""
    names = dict.fromkeys([*record.before, *record.after])
    changes = [_change(name, record.before.get(name), record.after.get(name)) for name in names]
    return ", ".join(part for part in (record.detail, *changes) if part)


def _change(name: str, before: Any, after: Any) -> str:  # noqa: ANN401 - JSON
    told = [str(value) for value in (before, after) if value is not None and value != ""]
    return f"{name} {' → '.join(told)}" if told else ""
