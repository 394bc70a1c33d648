"""The description of a backup file, as the API lists it."""

from datetime import datetime
from typing import NamedTuple


class BackupFile(NamedTuple):
    """A backup file in the data directory. `created_at` is the file's time, UTC without an offset."""

    name: str
    size_bytes: int
    created_at: datetime
