"""The database without a server: read-only, as it is on disk, whatever version it has."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from vpnkeys.doctor.installation import Installation
from vpnkeys.ops.backup import database_file
from vpnkeys.settings import SettingsError

_BUSY_TIMEOUT_S = 5.0


def sqlite_file(place: Installation) -> Path | None:
    """The SQLite file; None for another kind of database."""
    try:
        return database_file(place.settings)
    except SettingsError:
        return None


@contextmanager
def reading(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_S)) as connection:
        yield connection


def active_ports(place: Installation) -> tuple[int, ...]:
    """The ports of the keys that should work, by the database; none where it cannot be read."""
    file = sqlite_file(place)
    if file is None or not file.is_file():
        return ()
    try:
        with reading(file) as connection:
            rows = connection.execute("SELECT port FROM keys WHERE is_active AND judged = 'active' ORDER BY port")
            return tuple(int(port) for (port,) in rows)
    except sqlite3.Error:
        return ()  # said by the check of the database
