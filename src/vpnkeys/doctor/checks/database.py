"""The check of the database: it is undamaged, and has the version that this vpnkeys needs."""

import shlex
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from vpnkeys.doctor.finding import Verdict, fail, ok, warn
from vpnkeys.doctor.installation import Installation
from vpnkeys.doctor.records import reading, sqlite_file
from vpnkeys.domain.errors import DatabaseDamaged, StoreUnavailable
from vpnkeys.ops.backup import newest_backup
from vpnkeys.store.sql.faults import translated, unusable, words_of
from vpnkeys.store.sql.migrate import HEAD
from vpnkeys.store.sql.opening import NotReady, open_current
from vpnkeys.store.sql.soundness import check_database

_BIG_BYTES = 256 * 2**20
_PATIENCE_S = 20.0
_STEPS = 100_000
"""SQLite calls the progress handler each time its virtual machine has run so many instructions."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """Facts on the database. `file` is None when it is not SQLite; `is_complete` says that the check was finished.

    `unread` is why it could not be checked at all, though nothing says that it is damaged; `older` says which version
    a PostgreSQL database has that the server will migrate.
    """

    file: Path | None
    restart: str
    is_there: bool = False
    damages: tuple[str, ...] = ()
    revision: str = ""
    is_complete: bool = True
    backup: Path | None = None
    unread: str = ""
    older: str = ""


def look(installation: Installation) -> DatabaseFacts:
    """Run SQLite's own check on a read-only connection, the quick one for a big database; open one of PostgreSQL."""
    file = sqlite_file(installation)
    if file is None:
        return _opened(installation)
    if not file.is_file():
        return DatabaseFacts(file, installation.restart)
    backup = newest_backup(installation.data_dir)
    facts = DatabaseFacts(file, installation.restart, is_there=True, backup=backup)
    try:
        damages, revision = _checked(file)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            return replace(facts, is_complete=False)
        if isinstance(translated(error), DatabaseDamaged):
            return replace(facts, damages=("its pages cannot be read",))
        return replace(facts, unread=words_of(error))
    return replace(facts, damages=damages, revision=revision)


def judge(facts: DatabaseFacts) -> Iterable[Verdict]:
    """Report damage, a missing file or an old version. A damaged database is restored, never repaired in place."""
    if facts.file is None:
        yield from _judge_elsewhere(facts)
    elif not facts.is_there:
        yield fail(f"there is no {facts.file}; the server makes it at its first start", facts.restart)
    elif facts.unread:
        yield fail(f"{facts.file} could not be checked: {facts.unread}; close other programs that have it open")
    elif facts.damages:
        restore = f"vpnkeys restore {shlex.quote(str(facts.backup))} --force" if facts.backup else ""
        hint = "stop the server, then restore a backup" if facts.backup else "and there is no backup of it"
        shown = "; ".join(facts.damages[:_SHOWN])
        yield fail(f"{facts.file} is damaged ({shown}); {hint}", restore)
    elif not facts.is_complete:
        yield warn(f"{facts.file} was not checked to its end in {_PATIENCE_S:.0f} s; no damage was found so far")
    elif facts.revision != HEAD:
        words = f"{facts.file} is at version {facts.revision or 'none'}, this vpnkeys needs {HEAD}"
        yield warn(f"{words}; the server migrates it at its next start", facts.restart)
    else:
        yield ok(f"{facts.file} is undamaged")


def _opened(installation: Installation) -> DatabaseFacts:
    """Open a PostgreSQL database as a start does, but migrate nothing."""
    facts, url = DatabaseFacts(None, installation.restart), installation.settings.database_url
    try:
        check_database(url)
        with closing(open_current(url)) as store:
            if refusal := store.refusal():
                raise unusable(refusal)
    except NotReady as error:
        return replace(facts, older=f"{error}")
    except StoreUnavailable as error:
        return replace(facts, unread=f"{error}")
    return replace(facts, is_there=True, revision=HEAD)


def _judge_elsewhere(facts: DatabaseFacts) -> Iterable[Verdict]:
    if facts.unread:
        yield fail(facts.unread)
    elif facts.older:
        yield warn(facts.older, facts.restart)
    else:
        yield ok(f"the PostgreSQL database can be used, and is at version {facts.revision}; its own tools check it")


def _checked(file: Path) -> tuple[tuple[str, ...], str]:
    # quick_check leaves out the slow part, the comparison of every index with its table.
    pragma = "quick_check" if file.stat().st_size > _BIG_BYTES else "integrity_check"
    deadline = time.monotonic() + _PATIENCE_S
    with reading(file) as connection:
        connection.set_progress_handler(lambda: int(time.monotonic() > deadline), _STEPS)
        found = [str(row[0]) for row in connection.execute(f"PRAGMA {pragma}(20)")]
        # Neither pragma checks foreign keys.
        orphans = [f"{table}: a row without its {parent}" for table, _, parent, _ in _orphans(connection)]
        has_version = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        version = connection.execute("SELECT version_num FROM alembic_version").fetchone() if has_version else None
    return (*(line for line in found if line != "ok"), *orphans), version[0] if version else ""


def _orphans(connection: sqlite3.Connection) -> list[tuple[str, int, str, int]]:
    return connection.execute("PRAGMA foreign_key_check").fetchmany(20)
