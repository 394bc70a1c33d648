"""Brings a database of any earlier version to the shape of `tables.py`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pkgutil import iter_modules
from typing import Any

from sqlalchemy import Connection, Engine, inspect, text

from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.store.sql.engine import Translated
from vpnkeys.store.sql.faults import MOVED, moved, unusable
from vpnkeys.store.sql.migrations import versions
from vpnkeys.store.sql.tables import metadata
from vpnkeys.store.sql.triggers import refusing_writes
from vpnkeys.store.sql.writers import Writers

HEAD = "0021"
"""The newest revision under `migrations/versions`; a test holds them together."""


def migrate(engine: Engine, revision: str = HEAD) -> None:
    """Apply what is missing up to a revision, all or nothing.

    Raises StoreUnavailable when the database does not answer or is of a newer version, and DatabaseDamaged.
    """
    if current_revision(engine) == revision:
        return  # without Alembic, whose import alone takes longer than the whole start
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "vpnkeys.store.sql:migrations")
    # One transaction for all: both databases roll back changes of tables too, so a crash leaves the old version whole.
    # Of several servers that begin at once the first migrates, and the others find it done.
    with (
        Translated(),
        Writers.of(engine).turn(),
        engine.connect().execution_options(writes=True, unhurried=True) as connection,
        _without_foreign_keys(connection),
        connection.begin(),
    ):
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except CommandError as error:
            raise of_another_version(str(error)) from error


def is_known(revision: str) -> bool:
    """Return whether a revision is one to which this vpnkeys migrates, or from which it does."""
    return revision in {module.name.partition("_")[0][1:] for module in iter_modules(versions.__path__)}


def of_another_version(why: str) -> StoreUnavailable:
    """Return the error for tables that this vpnkeys does not know."""
    words = f"it is of another version of vpnkeys, or of another program ({why})"
    return unusable(f"{words}; use that version, another database, or a backup")


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """Let an SQLite connection drop tables to which others refer, for the block.

    SQLite changes a constraint only by a new table in place of the old one, whose rows would take along all that refers
    to them. It does not switch within a transaction. https://www.sqlite.org/lang_altertable.html#otheralter
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


def current_revision(engine: Engine) -> str | None:
    """Return the revision that a database is at; None for an empty one.

    Raises StoreUnavailable, also for one that was moved to another database, and DatabaseDamaged.
    """
    with Translated(), engine.begin() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found is not None and str(found).startswith(MOVED):
        raise moved(found)
    return found


def mark_moved(connection: Connection, backend: str) -> None:
    """Store inside a transaction, which writes nothing more, that all data are in a database of another engine now.

    No server starts on it any more, as no version is called so; one that runs finds the mark at its next look, and in
    each write transaction. PostgreSQL refuses all else, too: a release that looks for no mark may be running.
    """
    mark = {"mark": f"{MOVED}{backend}"}
    connection.execute(text("UPDATE alembic_version SET version_num = :mark"), mark)
    connection.execute(text("INSERT INTO generations (name, number) VALUES (:mark, 0)"), mark)
    if connection.dialect.name == "postgresql":
        for statement in refusing_writes(metadata, f"it was {MOVED}{backend}; set VPNKEYS_DATABASE_URL anew"):
            connection.execute(text(statement))
