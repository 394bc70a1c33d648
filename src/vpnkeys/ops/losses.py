"""Compares two backups: what is lost when the earlier one takes the place of the later one."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from vpnkeys.settings import ENV_FILE
from vpnkeys.store.files.backup import DATABASE, MEMBERS, Backup
from vpnkeys.store.files.compared import Differences, compare


@dataclass(frozen=True, slots=True)
class Losses:
    """What is in the later backup and not in the earlier one.

    `since` is when the earlier one was made, `files` are those besides the database whose content is another one.
    """

    since: str
    database: Differences
    files: tuple[str, ...]


def losses(earlier: Backup, later: Backup) -> Losses:
    """Return what is lost by restoring the earlier backup. The settings are left out: a restore keeps the present ones.

    Raises StoreUnavailable for a backup of a newer version, and DatabaseDamaged.
    """
    with tempfile.TemporaryDirectory(prefix="vpnkeys-") as room:
        copies = [Path(room) / name for name in ("earlier.db", "later.db")]
        for copy, backup in zip(copies, (earlier, later), strict=True):
            copy.write_bytes(backup.members[DATABASE])
        found = compare(*copies)
    others = [name for name in MEMBERS if name not in {DATABASE, ENV_FILE}]
    files = tuple(name for name in others if earlier.members.get(name) != later.members.get(name))
    return Losses(earlier.created_at, found, files)
