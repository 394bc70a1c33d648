"""The SQLite database of an installation of the 2.3 line, read as it stands."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from vpnkeys.domain.errors import LegacyUnreadable, StoreUnavailable
from vpnkeys.store.files.snapshot import snapshot

# What cannot be missing; further columns came with time and are optional.
_TABLES = {
    "keys": ("id", "name", "uuid"),
    "port_assignments": ("port", "uuid"),
    "traffic_history": ("key_uuid", "payload"),
}

Row = dict[str, object]


def read_legacy_database(path: Path) -> dict[str, list[Row]]:
    """All rows of the tables that matter. Nothing is changed, not even beside the file.

    Text that is no UTF-8 comes with lone surrogates, so that the row can be named instead of the whole file refused.
    Raises LegacyUnreadable when it is not such a database.
    """
    try:
        with snapshot(path) as copy:
            return _read(copy, path)
    except OSError as error:
        raise LegacyUnreadable(f"{path} cannot be read: {error.strerror}.") from error
    except StoreUnavailable as error:
        raise LegacyUnreadable(str(error)) from error
    except sqlite3.Error as error:
        msg = f"{path} is no sound SQLite database ({error}); give the database of the old server, or a backup of it."
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
