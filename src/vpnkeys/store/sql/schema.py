"""Compares the schema of a database from elsewhere with our own, before anything in it is run.

A database carries more than rows: a trigger or a view runs whatever it says at each write or read.
https://www.sqlite.org/security.html, "Untrusted SQLite Database Files".
"""

import re
import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import migrate

_OF_SQLITE = frozenset({("table", "sqlite_sequence"), ("table", "sqlite_stat1"), ("table", "sqlite_stat4")})
_ORDER = "trigger view table index"
_NUMBERS = ("INTEGER", "BIGINT", "BOOLEAN")
_SPACES_AND_QUOTES = re.compile(r'[\s"`\[\]]+')

Part = tuple[str, str, str, str]
"""The type, name, table and SQL of a part of a schema."""


def foreign_parts(database: Path) -> list[str] | None:
    """Return what an SQLite database has otherwise than ours at its version, such as `trigger x`; None: no database.

    The file is opened for reading only. Raises sqlite3.Error when it is damaged, and StoreUnavailable when its version
    is none that this vpnkeys knows.
    """
    uri = f"{database.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        found = _parts(connection)
        if ("table", "alembic_version") not in {part[:2] for part in found}:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None:
        return None
    own = _own_parts(str(row[0]))
    # Those that run first, then tables, then their indices.
    differing = sorted({part[:2] for part in found ^ own}, key=lambda part: (_ORDER.find(part[0]), part[1]))
    return [f"{kind} {name}" for kind, name in differing]


def mistyped_column(database: Path) -> str:
    """Return a column, such as `keys.note`, with a value of another type than its own; "" when there is none.

    SQLite keeps values of any type in any column, and what reads them expects the column's.
    """
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        tables = [name for kind, name, *_ in sorted(_parts(connection)) if kind == "table"]
        for table in tables:
            for _, column, declared, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
                kind = "integer" if declared.startswith(_NUMBERS) else "text"
                wrong = f"typeof(\"{column}\") NOT IN ('{kind}', 'null')"
                if connection.execute(f'SELECT 1 FROM "{table}" WHERE {wrong} LIMIT 1').fetchone():  # noqa: S608 - ours
                    return f"{table}.{column}"
    return ""


@cache
def _own_parts(revision: str) -> frozenset[Part]:
    """Return the parts of a database that we make at this version. Raises StoreUnavailable."""
    with tempfile.TemporaryDirectory(prefix="vpnkeys-") as directory:
        own = Path(directory) / "own.db"
        engine = open_engine(f"sqlite:///{own}")
        try:
            migrate(engine, revision)
        finally:
            engine.dispose()
        with closing(sqlite3.connect(own)) as connection:
            found = _parts(connection)
    if not found:
        raise StoreUnavailable(f"The version {revision!r} of the database is not known.")
    return found


def _parts(connection: sqlite3.Connection) -> frozenset[Part]:
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
    return frozenset(
        (str(kind), str(name), str(table), _SPACES_AND_QUOTES.sub("", str(sql)).lower())
        for kind, name, table, sql in rows
        if (kind, name) not in _OF_SQLITE
    )
