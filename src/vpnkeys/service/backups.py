"""Lists, makes and opens backups; making and downloading one is recorded in the audit log."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from vpnkeys.domain.audit import Entry, Outcome
from vpnkeys.domain.errors import BackupFailed, BackupNotFound
from vpnkeys.interfaces import Store
from vpnkeys.service.audited import audited


class BackupFile(NamedTuple):
    """A backup file in the data directory. `created_at` is the file's time, UTC without an offset."""

    name: str
    size_bytes: int
    created_at: datetime


class BackupFiles(Protocol):
    """Gives access to the backups in the data directory."""

    def files(self) -> tuple[BackupFile, ...]:
        """Return all backups, newest first."""
        ...

    def make(self) -> bool:
        """Make a backup now; return whether it worked."""
        ...

    def find(self, name: str) -> Path | None:
        """Return the file of this name; None when there is no such backup."""
        ...


@dataclass(frozen=True, slots=True)
class BackupService:
    """Implements the use cases about backups."""

    store: Store
    backups: BackupFiles

    def list(self) -> tuple[BackupFile, ...]:
        """Return all backups, newest first."""
        return self.backups.files()

    def make(self) -> BackupFile:
        """Make a backup now and return its file. Raises BackupFailed."""
        with audited(self.store, "backup.made") as facts:
            if not self.backups.make():
                raise BackupFailed(
                    "The backup could not be made: see the server's log for the reason. Is the disk full?"
                )
            newest = self.backups.files()[0]
            facts["name"] = newest.name
        return newest

    def open(self, name: str) -> Path:
        """Return the file of this name. Raises BackupNotFound."""
        file = self.backups.find(name)
        if file is None:
            raise BackupNotFound("There is no backup of this name; GET /api/backups lists the names.")
        # Recorded before the first byte is sent: a backup holds the server's secrets, even when read in part.
        self.store.record(Entry("backup.downloaded", after={"name": name}), Outcome.DONE)
        return file
