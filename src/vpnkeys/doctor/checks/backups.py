"""Backups: that there is one, and how old it is."""

import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vpnkeys.doctor.finding import Verdict, ok, warn
from vpnkeys.doctor.installation import Installation
from vpnkeys.doctor.records import sqlite_file
from vpnkeys.ops.backup import BACKUPS, stamp

_OLD_S = 2 * 86400.0


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """The newest backup and its age; `is_ours_to_make` is False for a database that has its own tools."""

    is_ours_to_make: bool
    newest: Path | None
    age_s: float
    next_one: Path


def newest_backup(data_dir: Path) -> Path | None:
    """The newest of those that the server and `vpnkeys backup` keep in the data directory."""
    found = (data_dir / BACKUPS).glob("vpnkeys-*.backup")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def look(place: Installation) -> BackupFacts:
    """By the files' own times."""
    newest = newest_backup(place.data_dir)
    age_s = 0.0 if newest is None else time.time() - newest.stat().st_mtime
    next_one = place.data_dir / BACKUPS / f"vpnkeys-{stamp()}.backup"
    return BackupFacts(sqlite_file(place) is not None, newest, age_s, next_one)


def judge(facts: BackupFacts) -> Iterable[Verdict]:
    """A running server makes one every day."""
    mend = f"vpnkeys backup {shlex.quote(str(facts.next_one))}"
    if not facts.is_ours_to_make:
        yield ok("the database is not SQLite; its own tools back it up")
    elif facts.newest is None:
        yield warn(f"there is no backup in {facts.next_one.parent}", mend)
    elif facts.age_s > _OLD_S:
        yield warn(f"the newest backup, {facts.newest}, is {facts.age_s / 86400:.0f} days old", mend)
    else:
        yield ok(f"{facts.newest} is {facts.age_s / 3600:.0f} hours old; copies on another machine are yours to keep")
