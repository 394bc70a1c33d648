"""Opens one connection to an SQLite file, also where its disk has no room for what SQLite wants beside it."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.engine import ExceptionContext

from vpnkeys.files import give_up_reserve
from vpnkeys.store.sql.faults import Cause, cause_of

_NO_ROOM = frozenset({Cause.READ_ONLY, Cause.IO, Cause.FULL, Cause.CANNOT_OPEN})


def opened(file: Path, args: list[Any], options: dict[str, Any]) -> tuple[sqlite3.Connection, bool]:
    """Return a connection, and whether it takes the file as complete.

    SQLite needs a file beside the database even to read it. A full or read-only disk has no room for that file, but if
    there is no write-ahead log either, the database alone is complete.
    """
    try:
        return _prepared(sqlite3.connect(*args, **options)), False
    except sqlite3.OperationalError as error:
        if cause_of(error) not in _NO_ROOM or not _is_complete(file):
            raise
        immutable = f"{file.resolve().as_uri()}?immutable=1"
        return _prepared(sqlite3.connect(immutable, **(options | {"uri": True}))), True


def directory_of(engine: Engine) -> Path | None:
    """Return the directory of an SQLite database; None for one that is not a file."""
    file = engine.url.database
    is_file = engine.dialect.name == "sqlite" and file not in {None, "", ":memory:"}
    return Path(str(file)).resolve().parent if is_file else None


def is_protected(file: Path) -> bool:
    """Return whether there is such a file, and nothing may be written to it."""
    return file.exists() and not os.access(file, os.W_OK)


def give_up_reserve_when_full(directory: Path | None, context: ExceptionContext) -> None:
    """Give the reserve up when the disk is full after all, so that the next write has room."""
    if directory is not None and cause_of(context.original_exception) is Cause.FULL:
        give_up_reserve(directory)


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.isolation_level = None  # pysqlite must not begin anything by itself
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _is_complete(file: Path) -> bool:
    """Return whether a database exists and has no write-ahead log."""
    with suppress(FileNotFoundError):
        return file.with_name(file.name + "-wal").stat().st_size == 0 and file.is_file()
    return file.is_file()
