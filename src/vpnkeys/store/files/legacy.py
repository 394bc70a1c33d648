"""Reads the SQLite databases of other servers: of a 2.3 installation, and of other panels."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from vpnkeys.domain.errors import LegacyUnreadable, StoreUnavailable
from vpnkeys.store.files.snapshot import snapshot

# The columns that must exist; others came with later 2.3 releases and are optional.
_LEGACY_TABLES = {
    "keys": ("id", "name", "uuid"),
    "port_assignments": ("port", "uuid"),
    "traffic_history": ("key_uuid", "payload"),
}
_SQLITE = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html

Row = dict[str, object]


def read_legacy_database(path: Path) -> dict[str, list[Row]]:
    """Return the rows of keys, port_assignments and traffic_history, by table. Raises what `read_tables` raises."""
    return read_tables(path, _LEGACY_TABLES, "the database of an old server")


def is_database(path: Path) -> bool:
    """Return whether a file begins as SQLite databases do. Raises LegacyUnreadable when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError as error:
        raise LegacyUnreadable(f"{path} cannot be read: {error.strerror}.") from error


def read_tables(path: Path, tables: Mapping[str, Sequence[str] | None], what: str) -> dict[str, list[Row]]:
    """Return the rows of tables; nothing on disk changes. `tables` has the columns that each must have.

    A table with None may be missing, and then has no rows. Text that is not UTF-8 is decoded with lone surrogates, so
    that an error can name its row instead of refusing the whole file. Raises LegacyUnreadable when the file is not
    `what`.
    """
    try:
        with snapshot(path) as copy:
            return _read(copy, path, tables, what)
    except OSError as error:
        raise LegacyUnreadable(f"{path} cannot be read: {error.strerror}.") from error
    except StoreUnavailable as error:
        raise LegacyUnreadable(str(error)) from error
    except sqlite3.Error as error:
        msg = f"{path} is no intact SQLite database; give {what}, or its backup."
        raise LegacyUnreadable(msg) from error


def _read(copy: Path, path: Path, tables: Mapping[str, Sequence[str] | None], what: str) -> dict[str, list[Row]]:
    with closing(sqlite3.connect(copy)) as connection:
        connection.row_factory = sqlite3.Row
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        found = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
        if found != ["ok"]:
            raise sqlite3.DatabaseError(found[0])
        return {table: _rows(connection, table, needed, path, what) for table, needed in tables.items()}


def _rows(connection: sqlite3.Connection, table: str, needed: Sequence[str] | None, path: Path, what: str) -> list[Row]:
    columns = {row["name"] for row in connection.execute(f"PRAGMA table_info({table})")}
    if needed is None and not columns:
        return []
    missing = [column for column in needed or () if column not in columns]
    if missing:
        has = f"its table {table} has no column {missing[0]}" if columns else f"it has no table {table}"
        raise LegacyUnreadable(f"{path} is not {what}: {has}.")
    return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608 - from above
