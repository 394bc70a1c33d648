"""The check of backups: there is one, and it is recent."""

import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vpnkeys.doctor.finding import Verdict, ok, warn
from vpnkeys.doctor.installation import Installation
from vpnkeys.doctor.records import sqlite_file
from vpnkeys.ops.backup import BACKUPS, newest_backup, stamp

_OLD_S = 2 * 86400.0
"""A running server makes one a day, so at least one has failed by then."""


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """The newest backup and its age. `is_ours_to_make` is False for databases that vpnkeys does not back up."""

    is_ours_to_make: bool
    newest: Path | None
    age_s: float
    next_one: Path


def look(installation: Installation) -> BackupFacts:
    """Return the newest backup; its age is that of the file."""
    newest = newest_backup(installation.data_dir)
    age_s = 0.0 if newest is None else time.time() - newest.stat().st_mtime
    next_one = installation.data_dir / BACKUPS / f"vpnkeys-{stamp()}.backup"
    return BackupFacts(sqlite_file(installation) is not None, newest, age_s, next_one)


def judge(facts: BackupFacts) -> Iterable[Verdict]:
    """Warn when the newest backup is older than two days: a running server makes one every day."""
    mend = f"vpnkeys backup {shlex.quote(str(facts.next_one))}"
    if not facts.is_ours_to_make:
        yield ok("the database is not SQLite; its own tools back it up")
    elif facts.newest is None:
        yield warn(f"there is no backup in {facts.next_one.parent}", mend)
    elif facts.age_s > _OLD_S:
        yield warn(f"the newest backup, {facts.newest}, is {facts.age_s / 86400:.0f} days old", mend)
    else:
        yield ok(f"{facts.newest} is {facts.age_s / 3600:.0f} hours old; keep a copy on another machine")
