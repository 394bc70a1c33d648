"""Backups as they are listed."""

from datetime import datetime
from typing import NamedTuple


class BackupFile(NamedTuple):
    """A backup in the data directory."""

    name: str
    size_bytes: int
    created_at: datetime
