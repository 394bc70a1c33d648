"""Makes engines for PostgreSQL: how a connection is had, and how a transaction begins."""

import threading
from contextlib import suppress
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry

from vpnkeys.interfaces import PATIENCE_S
from vpnkeys.store.sql.postgresql.connection import (
    CONNECT_S,
    SILENT_S,
    BoundedConnection,
    Silent,
    Unusable,
    connect,
)

_WRITERS = 0x76706E6B657973  # "vpnkeys"
"""The advisory lock of all writers of a database, of whatever process."""

_LOCK_S = 1.0
_STATEMENT_S = 1.8
_BEHIND_LOCK_S = 0.7
_IDLE_S = 30.0
"""A process that is stopped in its turn (SIGSTOP, a paused machine) keeps the others out so long."""

_UNHURRIED_S = 3600.0
_MIGRATING_S = 60.0
_PROBE_PATIENCE_S = 30.0
_PROBE_EVERY_S = 0.3


def open_postgresql(url: URL) -> Engine:
    """Return an engine for a PostgreSQL database, which no caller waits for in vain for longer than three seconds."""
    engine = create_engine(
        url, pool_size=5, max_overflow=20, pool_timeout=1.0, pool_use_lifo=True, use_native_hstore=False
    )
    reach = _Reach(engine)
    event.listen(engine, "do_connect", reach.connect)
    event.listen(engine, "handle_error", reach.learn)
    event.listen(engine, "engine_disposed", reach.give_up)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    """Begin a transaction, with its timeouts; one that writes waits for its turn first.

    All in one message. A reader sees one state of the database for as long as it reads. Writers wait for each other, as
    on SQLite, so that what one has read is still true when it writes; PostgreSQL keeps the order in which they asked.
    """
    options = connection.get_execution_options()
    is_unhurried = options.get("unhurried", False)
    driver: Any = connection.connection.driver_connection
    if options.get("writes", False):
        lock_s = _MIGRATING_S if is_unhurried else options.get("busy_timeout_s", PATIENCE_S)
        begin, turn = "BEGIN ISOLATION LEVEL READ COMMITTED", f"; SELECT pg_advisory_xact_lock({_WRITERS})"
        durable = "" if options.get("durable", True) else "; SET LOCAL synchronous_commit = off"
    else:
        lock_s = options.get("busy_timeout_s", _LOCK_S)
        begin, turn, durable = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "", ""
    statement_s, silent_s = (0.0, _UNHURRIED_S) if is_unhurried else (_STATEMENT_S, SILENT_S)
    timeouts = _timeouts(lock=lock_s, idle_in_transaction_session=_IDLE_S)
    driver.silent_s = max(lock_s + _BEHIND_LOCK_S, silent_s)  # one that waits for its turn hears nothing meanwhile
    connection.exec_driver_sql(
        begin + timeouts + durable + turn + _timeouts(statement=statement_s), execution_options={"no_parameters": True}
    )
    driver.silent_s = silent_s


def _timeouts(**seconds: float) -> str:
    return "".join(f"; SET LOCAL {name}_timeout = {int(value * 1000)}" for name, value in seconds.items())


class _Reach:
    """Knows whether the server can be reached. While it cannot, callers get an error at once, and one thread tries.

    A caller finds a server that is lost by a connection that cannot be had, or by one that says nothing. One that was
    closed tells nothing yet: a server that was restarted has closed them all. It is found again by a transaction that
    begins, because a pooler takes connections while no server is behind it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._lost: BaseException | None = None
        self._is_over = threading.Event()
        self._prober = threading.local()

    def connect(
        self, _dialect: object, _record: ConnectionPoolEntry, args: list[Any], options: dict[str, Any]
    ) -> BoundedConnection:
        """Return a connection. Raises psycopg.OperationalError, at once while the server is lost."""
        probes = getattr(self._prober, "is_here", False)
        if self._lost is not None and not probes:
            again = Unusable if isinstance(self._lost, Unusable) else Silent
            raise again(f"{self._lost}") from self._lost
        try:
            return connect(args, options, _PROBE_PATIENCE_S if probes else CONNECT_S)
        except BaseException as error:
            self._lose(error)
            raise

    def learn(self, context: ExceptionContext) -> None:
        """Note a server that says nothing."""
        if isinstance(context.original_exception, Silent):
            self._lose(context.original_exception)

    def give_up(self, _engine: Engine) -> None:
        """End the thread, if there is one."""
        self._is_over.set()

    def _lose(self, error: BaseException) -> None:
        with self._lock:
            is_new, self._lost = self._lost is None, error
        if is_new and not self._is_over.is_set():
            threading.Thread(target=self._probe, name="reach-database", daemon=True).start()

    def _probe(self) -> None:
        self._prober.is_here = True
        while not self._is_over.is_set():
            with suppress(Exception), self._engine.connect() as connection, connection.begin():
                self._lost = None
                return
            self._is_over.wait(_PROBE_EVERY_S)
