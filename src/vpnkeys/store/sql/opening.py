"""Opening a database that a server has made and brought up to date, without making or changing anything."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, delete, func, make_url, select, update

from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.store.sql.engine import Translated, open_engine
from vpnkeys.store.sql.migrate import HEAD, current_revision, migrate
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.store.sql.tables import changed_keys, generations, keys
from vpnkeys.store.sql.transaction import begun
from vpnkeys.store.sql.writers import Writers

_MANY_CHANGES: Final = 100_000


class NotReady(Exception):
    """The database is missing, or of another version. The text says what to do, and begins in the middle of a line."""


def backend_of(url: str) -> str:
    """Return the name of the database engine of a SQLAlchemy URL, such as `sqlite`."""
    return make_url(url).get_backend_name()


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite URL; None for another engine, and for a database in memory."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database)).absolute()


def open_migrated(url: str) -> Engine:
    """Return an engine for the database, which is made or migrated. Raises StoreUnavailable, DatabaseDamaged."""
    engine = open_engine(url)
    try:
        migrate(engine)
        forget_changes(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def forget_changes(engine: Engine) -> None:
    """Forget which keys have changed, where most of what is noted are keys that were deleted; all are read once more.

    Raises StoreUnavailable, DatabaseDamaged.
    """
    with Translated(), begun(engine, {}) as connection:
        noted, there = (
            connection.scalar(select(func.count()).select_from(table)) or 0 for table in (changed_keys, keys)
        )
    if noted <= _MANY_CHANGES + 2 * there:
        return
    mark = generations.c.name == changed_keys.name
    with Translated(), Writers.of(engine).turn(), begun(engine, {"writes": True}) as connection:
        connection.execute(delete(changed_keys))
        connection.execute(update(generations).where(mark).values(number=generations.c.number + 1))


def listener_of(url: str) -> Callable[[float], None]:
    """Return what waits for another server's change of a PostgreSQL database, for so many seconds at most."""
    from vpnkeys.store.sql.postgresql.listening import Listener  # noqa: PLC0415 - most servers have no psycopg to load

    return Listener(open_engine(url)).wait


def bring_up_to_date(url: str) -> str:
    """Make or migrate the database, and return its version. Raises StoreUnavailable, DatabaseDamaged."""
    open_migrated(url).dispose()
    return HEAD


def open_current(url: str) -> SqlStore:
    """Return the database if it has this version. Raises NotReady; StoreUnavailable when it does not answer."""
    _require_file(sqlite_file(url))
    engine = open_engine(url)
    try:
        revision = current_revision(engine)
        if revision == HEAD:
            return SqlStore(engine)
    except StoreUnavailable:
        engine.dispose()
        raise
    engine.dispose()
    msg = (
        f"the database is at version {revision or 'none'}, this vpnkeys needs {HEAD}; "
        "start the server once (vpnkeys serve) to migrate it"
    )
    raise NotReady(msg)


def _require_file(file: Path | None) -> None:
    """Raise NotReady when the SQLite file does not exist: opening it would create it."""
    if file is None:
        return
    try:
        if file.is_file():
            return
        why = "does not exist; start the server once (vpnkeys serve) to make it"
    except OSError as error:
        why = f"cannot be read: {error.strerror}; run this as the server's user or root"
    msg = f"the database {file} {why}"
    raise NotReady(msg)
