"""Reads the SQLite database of a 2.3 installation."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from vpnkeys.domain.errors import LegacyUnreadable, StoreUnavailable
from vpnkeys.store.files.snapshot import snapshot

# The columns that must exist; others came with later 2.3 releases and are optional.
_TABLES = {
    "keys": ("id", "name", "uuid"),
    "port_assignments": ("port", "uuid"),
    "traffic_history": ("key_uuid", "payload"),
}

Row = dict[str, object]


def read_legacy_database(path: Path) -> dict[str, list[Row]]:
    """Return the rows of keys, port_assignments and traffic_history, by table; nothing on disk changes.

    Text that is not UTF-8 is decoded with lone surrogates, so that an error can name its row instead of refusing the
    whole file. Raises LegacyUnreadable when the file is not such a database.
    """
    try:
        with snapshot(path) as copy:
            return _read(copy, path)
    except OSError as error:
        raise LegacyUnreadable(f"{path} cannot be read: {error.strerror}.") from error
    except StoreUnavailable as error:
        raise LegacyUnreadable(str(error)) from error
    except sqlite3.Error as error:
        msg = f"{path} is no intact SQLite database; give the database of the old server, or its backup."
        raise LegacyUnreadable(msg) from error


def _read(copy: Path, path: Path) -> dict[str, list[Row]]:
    with closing(sqlite3.connect(copy)) as connection:
        connection.row_factory = sqlite3.Row
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        found = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
        if found != ["ok"]:
            raise sqlite3.DatabaseError(found[0])
        return {table: _rows(connection, table, needed, path) for table, needed in _TABLES.items()}


def _rows(connection: sqlite3.Connection, table: str, needed: Sequence[str], path: Path) -> list[Row]:
    columns = {row["name"] for row in connection.execute(f"PRAGMA table_info({table})")}
    missing = [column for column in needed if column not in columns]
    if missing:
        what = f"its table {table} has no column {missing[0]}" if columns else f"it has no table {table}"
        raise LegacyUnreadable(f"{path} is not the database of an old server: {what}.")
    return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608 - from above
