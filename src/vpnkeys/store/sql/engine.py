"""Opens the database, so that transactions begin when they should and last when they are committed."""

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.pool import QueuePool

from vpnkeys.store.sql.faults import damaged, translated

_BUSY_TIMEOUT_S = 5
_UNREADABLE = (ValueError, TypeError, LookupError, ArithmeticError)
"""How long SQLite itself waits for another writer; `writers.py` keeps the order before that."""


def open_engine(url: str) -> Engine:
    """Return an engine for a SQLAlchemy URL.

    For SQLite: WAL with `synchronous=FULL`, so that a commit is durable when it returns (0.26 ms here), foreign keys
    on, and transactions begun by ourselves. pysqlite's own begin late and as readers, which lost 351 of 400 concurrent
    updates; `BEGIN IMMEDIATE` lost none.
    """
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    # A pooled connection is used by one thread after another, which sqlite3 refuses with its check on.
    engine = create_engine(
        url, poolclass=QueuePool, connect_args={"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False}
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own class
    connection.isolation_level = None  # pysqlite must not begin anything by itself
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Begin a transaction; one that writes takes the write lock at once.

    Otherwise what it reads before its first write could be out of date by then. A commit with `durable=False` does not
    wait for the disk (`synchronous=NORMAL`); the next durable one brings it to the disk too, as both are in one WAL.
    """
    options = connection.get_execution_options()
    if not options.get("writes", False):
        connection.exec_driver_sql("BEGIN")
        return
    driver: Any = connection.connection.driver_connection
    # Before BEGIN, as SQLite refuses this pragma inside a transaction; each time, as connections are pooled.
    driver.execute(f"PRAGMA synchronous={'FULL' if options.get('durable', True) else 'NORMAL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


class Watcher:
    """Reads from an SQLite connection whether, and in which tables, the database has changed.

    It asks the driver itself: SQLAlchemy would begin a transaction, which keeps seeing the state at its beginning.
    """

    def __init__(self, connection: Connection) -> None:
        self._driver: Any = connection.connection.driver_connection

    def data_version(self) -> int:
        """Return a number that changes when another connection commits, of any process."""
        return int(self._driver.execute("PRAGMA data_version").fetchone()[0])

    def generations(self) -> dict[str, int]:
        """Return, for each table that is kept in memory, a number that grows with each of its changes."""
        return dict(self._driver.execute("SELECT name, number FROM generations").fetchall())


class Translated:
    """Raises our own errors in place of the driver's from its block. A class, because each request uses it."""

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Raise StoreUnavailable or DatabaseDamaged in place of what the driver raised."""
        if error is not None and (found := translated(error)) is not None:
            raise found from error


class Reading(Translated):
    """Does the same for a block that only reads: a stored value that cannot be converted is damage too."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise StoreUnavailable or DatabaseDamaged in place of what the driver or a conversion raised."""
        if isinstance(error, _UNREADABLE):
            raise damaged() from error
        super().__exit__(kind, error, trace)
