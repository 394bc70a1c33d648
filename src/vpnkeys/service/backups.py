"""Lists, makes and hands out backups; each that is made or handed out stands in the audit log."""

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
    """The backups in the data directory."""

    def files(self) -> tuple[BackupFile, ...]:
        """Return the backups that there are, newest first."""
        ...

    def make(self) -> bool:
        """Make a backup now; return whether it worked."""
        ...

    def find(self, name: str) -> Path | None:
        """Return the file of this name; None when there is no such backup."""
        ...


@dataclass(frozen=True, slots=True)
class BackupService:
    """The use cases about backups."""

    store: Store
    backups: BackupFiles

    def list(self) -> tuple[BackupFile, ...]:
        """Return the backups that there are, newest first."""
        return self.backups.files()

    def make(self) -> BackupFile:
        """Make a backup now. Raises BackupFailed."""
        with audited(self.store, "backup.made") as facts:
            if not self.backups.make():
                raise BackupFailed("The backup could not be made; the log of the server says why. Is the disk full?")
            newest = self.backups.files()[0]
            facts["name"] = newest.name
        return newest

    def open(self, name: str) -> Path:
        """Return the file of this name. Raises BackupNotFound."""
        file = self.backups.find(name)
        if file is None:
            raise BackupNotFound("There is no backup of this name; GET /api/backups lists those that are.")
        self.store.record(Entry("backup.downloaded", after={"name": name}), Outcome.DONE)
        return file
