"""Checks a database before a start: whether it is whole, and which keys it knows."""

from dataclasses import dataclass

from sqlalchemy import Connection, inspect, text

from vpnkeys.store.sql.engine import Reading, open_engine
from vpnkeys.store.sql.faults import MOVED, Cause, damaged, unusable
from vpnkeys.store.sql.migrate import is_known, of_another_version

_WITH_UUIDS = ("keys", "intents", "stops")


@dataclass(frozen=True, slots=True)
class Contents:
    """The UUIDs of all keys, and of those that are being started or stopped; whether a server ever counted traffic."""

    keys: frozenset[str]
    known: frozenset[str]
    has_served: bool


def check_database(url: str) -> Contents | None:
    """Return what a database of any version contains; None when it has no tables.

    All pages of an SQLite database are checked. Raises DatabaseDamaged, or StoreUnavailable when it does not answer or
    is another program's.
    """
    engine = open_engine(url)
    try:
        with Reading(), engine.begin() as connection:
            return _contents(connection)
    finally:
        engine.dispose()


def _contents(connection: Connection) -> Contents | None:
    if connection.dialect.name == "sqlite" and connection.scalar(text("PRAGMA quick_check(1)")) != "ok":
        raise damaged()
    tables = set(inspect(connection).get_table_names())
    # A database on a server may have tables of others; a file is all ours.
    if not tables or (connection.dialect.name != "sqlite" and not _has_ours(connection, tables)):
        return None
    if "keys" not in tables:
        raise damaged()
    uuids = {
        table: frozenset(connection.scalars(text(f"SELECT uuid FROM {table}")))  # noqa: S608 - names from above
        for table in _WITH_UUIDS
        if table in tables
    }
    has_served = "epochs" in tables and connection.scalar(text("SELECT 1 FROM epochs LIMIT 1")) is not None
    return Contents(uuids["keys"], frozenset().union(*uuids.values()), has_served)


def _has_ours(connection: Connection, tables: set[str]) -> bool:
    """Return whether a schema has our tables. Raises StoreUnavailable when another program's are in their place."""
    if "alembic_version" not in tables:
        if "keys" in tables:
            raise unusable(Cause.FOREIGN.value)
        return False
    version = str(connection.scalar(text("SELECT version_num FROM alembic_version")) or "none")
    if not is_known(version) and not version.startswith(MOVED):
        raise of_another_version(f"its version is {version}")
    return "keys" in tables
