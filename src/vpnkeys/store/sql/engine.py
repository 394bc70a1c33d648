"""Opens the database, so that transactions begin when they should and last when they are committed."""

import os
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, select
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from vpnkeys.domain.change import Intent, Stop
from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.files import make_room
from vpnkeys.interfaces import PATIENCE_S
from vpnkeys.store.sql.faults import MOVED, damaged, moved, translated
from vpnkeys.store.sql.memory import Tables, read_changed
from vpnkeys.store.sql.opened import directory_of, give_up_reserve_when_full, is_protected, opened
from vpnkeys.store.sql.tables import generations as generations_table

_NUMBERS = select(generations_table)
_READS_ONLY, _FOR_NOW = "vpnkeys_reads_only", "vpnkeys_for_now"
_DRAIN_S = 0.2
"""How long a connection waits at first for those that only read: see `_Opener`."""
_UNREADABLE = (ValueError, TypeError, LookupError, ArithmeticError)


def open_engine(url: str) -> Engine:
    """Return an engine for a SQLAlchemy URL.

    For SQLite: WAL with `synchronous=FULL`, so that a commit is durable when it returns (0.26 ms here), foreign keys
    on, and transactions begun by ourselves. pysqlite's own begin late and as readers, which lost 351 of 400 concurrent
    updates; `BEGIN IMMEDIATE` lost none.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return _open_postgresql(parsed)
    # A pooled connection is used by one thread after another, which sqlite3 refuses with its check on.
    engine = create_engine(url, poolclass=QueuePool, connect_args={"timeout": PATIENCE_S, "check_same_thread": False})
    directory = directory_of(engine)
    opener = _Opener()
    event.listen(engine, "do_connect", opener.connect)
    event.listen(engine, "checkin", opener.check_in)
    event.listen(engine, "begin", partial(_begin_sqlite, directory))
    event.listen(engine, "begin", opener.refuse_when_removed)  # after it, as the log is there from then on
    event.listen(engine, "handle_error", partial(give_up_reserve_when_full, directory))
    return engine


def _open_postgresql(url: URL) -> Engine:
    # Here, so that the many servers with SQLite do without: the driver and its dialect take a tenth of the whole start.
    try:
        from vpnkeys.store.sql.postgresql.opening import open_postgresql  # noqa: PLC0415 - see above
    except ImportError as error:
        msg = f"VPNKEYS_DATABASE_URL needs psycopg, PostgreSQL's driver for Python, which ./run installs: {error}."
        raise StoreUnavailable(msg) from error
    return open_postgresql(url.set(drivername="postgresql+psycopg"))


class _Opener:
    """Opens the connections of one engine; where the disk lets nobody write, those that only read.

    What SQLite opens while nothing can be written stays read-only for the whole process, as long as one such connection
    is open. So none of them returns to the pool, and the first ones after that wait until all of them are closed. Each
    that waits in vain opens one more of them: where all are used for longer than that, as on a busy machine, there
    would always be one. So the wait is doubled each time.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reading_only = 0
        self._drain_s = _DRAIN_S
        self._files: dict[str, int] = {}
        """The inodes of the database and its log when they were first seen."""

    def connect(
        self, _dialect: object, record: ConnectionPoolEntry, args: list[Any], options: dict[str, Any]
    ) -> sqlite3.Connection:
        """Return a connection."""
        file = Path(str(args[0]))
        make_room(file.parent)
        with self._changed:
            was_protected = is_protected(file)
            if not was_protected:
                is_drained = self._changed.wait_for(lambda: not self._reading_only, self._drain_s)
                self._drain_s = _DRAIN_S if is_drained else min(2 * self._drain_s, PATIENCE_S)
            connection, is_complete = opened(file, args, options)
            # Before and after, as a disk may come back in between, and one that is taken for writing is kept for good.
            reads_only = was_protected or is_protected(file)
            record.info[_READS_ONLY] = is_complete or reads_only or bool(self._reading_only)
            record.info[_FOR_NOW] = record.info[_READS_ONLY] and not is_complete
            self._reading_only += record.info[_READS_ONLY]
        return connection

    def refuse_when_removed(self, connection: Connection) -> None:
        """Raise StoreUnavailable for a write whose file has no name any more: it would be lost at the next start.

        SQLite goes on writing to a file that was removed; its own check is made only without a write-ahead log.
        """
        name = connection.engine.url.database
        if not connection.get_execution_options().get("writes", False) or name in {None, "", ":memory:"}:
            return
        for file in (str(name), f"{name}-wal"):
            try:
                inode = os.stat(file).st_ino  # noqa: PTH116 - for each write, and a Path costs as much again
            except FileNotFoundError:
                inode = 0
            known = self._files.setdefault(file, inode)
            is_new_log = inode and file.endswith("-wal")  # each last connection that closes removes it
            if inode != known and not is_new_log:
                driver: Any = connection.connection.driver_connection
                driver.rollback()
                msg = (
                    f"{Path(file).name} was removed or replaced while the server runs, and nothing is stored. Restart "
                    "the server: it says which backup to restore."
                )
                raise StoreUnavailable(msg)
            self._files[file] = inode

    def check_in(self, _connection: object, record: ConnectionPoolEntry) -> None:
        """Close a connection that only reads."""
        if record.info.pop(_READS_ONLY, False):
            record.invalidate()
            with self._changed:
                self._reading_only -= 1
                self._changed.notify_all()


def _begin_sqlite(directory: Path | None, connection: Connection) -> None:
    """Begin a transaction; one that writes takes the write lock at once.

    Otherwise what it reads before its first write could be out of date by then. A commit with `durable=False` does not
    wait for the disk (`synchronous=NORMAL`); the next durable one brings it to the disk too, as both are in one WAL.
    """
    options = connection.get_execution_options()
    if not options.get("writes", False):
        connection.exec_driver_sql("BEGIN")
        return
    if directory is not None:
        make_room(directory)
    driver: Any = connection.connection.driver_connection
    # Before BEGIN, as SQLite refuses this pragma inside a transaction; each time, as connections are pooled.
    driver.execute(f"PRAGMA synchronous={'FULL' if options.get('durable', True) else 'NORMAL'}")
    driver.execute(f"PRAGMA busy_timeout={int(options.get('busy_timeout_s', PATIENCE_S) * 1000)}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _numbers_in(rows: Iterable[Any]) -> dict[str, int]:
    """Return the rows of `generations` as numbers by table. Raises DatabaseMoved where one is the mark of a move."""
    numbers: dict[str, int] = dict(iter(rows))
    for name in numbers:
        if name.startswith(MOVED):
            raise moved(name)
    return numbers


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
        return _numbers_in(self._driver.execute("SELECT name, number FROM generations"))


class _Changed(Protocol):
    """A transaction, of which the tables that it may have changed are kept without reading them back."""

    def keys(self) -> tuple[Key, ...]: ...
    def intents(self) -> tuple[Intent, ...]: ...
    def stops(self) -> tuple[Stop, ...]: ...


class Kept:
    """What both kinds have: the tables as of their numbers, and how a transaction's own changes are kept."""

    is_standby = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables = Tables()

    @property
    def last(self) -> Tables:
        """The tables as of the last look."""
        return self._tables

    def numbers(self, connection: Connection) -> Mapping[str, int]:
        """Return, for each table, a number that grows with each of its changes, as this connection sees it."""
        return _numbers_in(connection.execute(_NUMBERS))

    def keep(self, before: Tables, changed: _Changed, numbers: Mapping[str, int]) -> None:
        """Keep what a transaction committed, unless something newer has been read meanwhile.

        `before` are the tables that it began with, `numbers` those that it left.
        """
        left: dict[str, Any] = {"keys": changed.keys(), "intents": changed.intents(), "stops": changed.stops()}
        with self._lock:
            known = self._tables.generations
            names = [name for name in left if numbers.get(name) != before.generations.get(name) == known.get(name)]
            if names:
                newer = {**known, **{name: numbers[name] for name in names}}
                self._tables = replace(self._tables, generations=newer, **{name: left[name] for name in names})
                self._note_newer()

    def _note_newer(self) -> None:
        """Note that the tables are newer than what is being read now."""


class KeptFromFile(Kept):
    """Keeps the tables of an SQLite database.

    `PRAGMA data_version` on a connection that never writes says, in microseconds, whether any other connection of any
    process has committed, and the tables' numbers say which tables that changed.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine, self._file = engine, Path(str(engine.url.database))
        self._open()

    def _open(self) -> None:
        # A connection of its own that never writes, because data_version does not count a connection's own commits.
        self._reader = self._engine.connect()
        self._watcher = Watcher(self._reader)
        self._is_for_now = bool(self._reader.info.get(_FOR_NOW))

    def now(self) -> Tables:
        """Return the tables as last committed by any process."""
        with self._lock:
            # Each connection that is opened while this one only reads would only read too, and wait for its end.
            if self._is_for_now and not is_protected(self._file):
                self._reader.close()
            if self._reader.closed:
                self._open()
                self._tables = replace(self._tables, version=None)  # each connection counts versions of its own
            return self._look()

    def _look(self) -> Tables:
        # The numbers are read before the tables: a commit in between is then noticed the next time.
        version = self._watcher.data_version()
        if version != self._tables.version:
            numbers = self._watcher.generations()
            if numbers != self._tables.generations:
                with self._reader.begin():
                    self._tables = read_changed(self._reader, self._tables, numbers)
            self._tables = replace(self._tables, version=version)
        return self._tables

    def numbers(self, connection: Connection) -> Mapping[str, int]:
        """Return the numbers as this connection sees them, without SQLAlchemy, as each write asks."""
        return Watcher(connection).generations()

    def within(self, _connection: Connection) -> Tables:
        """Return the tables for a transaction that has the write lock: nobody changes them meanwhile."""
        return self.now()

    def forget_connection(self) -> None:
        """Close the only connection that stays open; the next look opens another one."""
        with self._lock:
            self._reader.close()

    close = forget_connection


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
        if isinstance(error, _UNREADABLE) and not isinstance(error, UnicodeEncodeError):  # that is of what was asked
            raise damaged() from error
        super().__exit__(kind, error, trace)
