"""`vpnkeys audit`: the log of changes, with their actors and outcomes."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any

import typer

from vpnkeys.cli.names import subject_of
from vpnkeys.cli.output.plain import plain, plain_json
from vpnkeys.cli.output.tables import table_of
from vpnkeys.cli.remote import Remote, asks_server
from vpnkeys.cli.values import to_second
from vpnkeys.client import AuditRecord
from vpnkeys.domain.audit import Outcome

_MOST = 1000
_EVERY_S = 1.0


@asks_server
def audit(  # noqa: PLR0913 - one for each option
    remote: Remote,
    *,
    subject: Annotated[
        str | None,
        typer.Option(
            "--key",
            "--subject",
            metavar="ID",
            help="Only changes of this key, or of the token with this id.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="How many records to show, the newest ones.")] = 100,
    action: Annotated[
        str | None, typer.Option(metavar="WORD", help="Only this action, such as key.deleted, or all of key.")
    ] = None,
    actor: Annotated[str | None, typer.Option(metavar="TEXT", help="Only who has this in their name.")] = None,
    outcome: Annotated[Outcome | None, typer.Option(help="Only changes that ended so.")] = None,
    before: Annotated[int | None, typer.Option(min=1, help="Only records older than the one with this number.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing new records, one per line, until Ctrl-C.")
    ] = False,
) -> None:
    """Show the newest changes, newest first; with --follow oldest first, and with --json one document per line."""
    subject = None if subject is None else subject_of(remote.server, subject)
    chosen = {"subject": subject, "action": action, "actor": actor, "outcome": outcome and outcome.value}
    records = remote.server.audit.list(limit, before, **chosen)
    if follow:
        with suppress(KeyboardInterrupt):
            _follow(remote, records, chosen)
        return
    rows = [(one.id, to_second(one.at), _who(one), one.action, one.subject, one.outcome, _what(one)) for one in records]
    titles = (">No", "At", "Who", "What", "Subject", "Outcome", "Change")
    remote.show([one.as_sent() for one in records], table_of(titles, rows))


def _follow(remote: Remote, records: list[AuditRecord], chosen: Mapping[str, str | None]) -> None:
    last = 0
    while True:
        for record in reversed(records):
            print(plain_json(record.as_sent(), indent=None) if remote.as_json else _line(record))
        sys.stdout.flush()  # Python buffers a pipe by blocks, and its reader should get each record at once
        last = records[0].id if records else last
        time.sleep(_EVERY_S)  # polled: the API has no live stream of audit records
        records = list(_newer_than(last, remote, chosen))


def _newer_than(last: int, remote: Remote, chosen: Mapping[str, str | None]) -> Iterator[AuditRecord]:
    """Yield all records newer than `last`, newest first, from as many pages as needed."""
    before = None
    while page := remote.server.audit.list(_MOST, before, **chosen):
        yield from (record for record in page if record.id > last)
        before = page[-1].id
        if before <= last:
            return


def _line(record: AuditRecord) -> str:
    parts = (to_second(record.at), _who(record), record.action, record.subject, record.outcome, _what(record))
    return plain("  ".join(str(part) for part in parts if part))


def _who(record: AuditRecord) -> str:
    return f"{record.actor} ({record.origin})" if record.origin else record.actor


def _what(record: AuditRecord) -> str:
    """Return the changes of a record as text, after the reason of a failure."""
    names = dict.fromkeys([*record.before, *record.after])
    changes = [_change(name, record.before.get(name), record.after.get(name)) for name in names]
    return ", ".join(part for part in (record.detail, *changes) if part)


def _change(name: str, before: Any, after: Any) -> str:  # noqa: ANN401 - JSON
    values = [str(value) for value in (before, after) if value is not None and value != ""]
    return f"{name} {' → '.join(values)}" if values else ""
