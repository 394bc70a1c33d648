"""The database read without the server: never written, never migrated, in whatever version it has."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from vpnkeys.doctor.installation import Installation
from vpnkeys.domain.nodes import LOCAL
from vpnkeys.ops.backup import database_file
from vpnkeys.settings import SettingsError

_BUSY_TIMEOUT_S = 5.0


def sqlite_file(installation: Installation) -> Path | None:
    """Return the SQLite file; None for another kind of database."""
    try:
        return database_file(installation.settings)
    except SettingsError:
        return None


@contextmanager
def reading(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a read-only connection for the block. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_S)) as connection:
        yield connection


def active_ports(installation: Installation) -> tuple[int, ...]:
    """Return the ports of the active keys of this host, lowest first; none where the database cannot be read."""
    file = sqlite_file(installation)
    if file is None or not file.is_file():
        return ()
    try:
        with reading(file) as connection:
            of_here = "SELECT port FROM keys WHERE node_id = ? AND is_active AND judged = 'active' ORDER BY port"
            return tuple(int(port) for (port,) in connection.execute(of_here, (LOCAL.id,)))
    except sqlite3.Error:
        return ()  # the database check reports it
