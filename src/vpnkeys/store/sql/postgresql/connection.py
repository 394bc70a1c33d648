"""Opens connections to PostgreSQL that wait only so long for a server which says nothing.

The server's own timeouts do not end the wait for a server that is stopped or cut off, nor do TCP's on a Unix socket; so
the client looks at the clock too. Nothing is set for a session, because a pooler hands sessions from one transaction to
the next: each transaction sets what it needs.
"""

import time
from collections.abc import Generator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from threading import Thread
from typing import Any, TypeVar

import psycopg

T = TypeVar("T")

CONNECT_S = 1.5
"""How long a caller waits for a connection. The thread that tries waits longer: an address may be of a dead server."""

SILENT_S = 2.0
"""How long a statement waits for any word of the server, longer than the server lets it run."""

# With nothing prepared on the server: behind a pooler the next transaction may have another session. A role's own
# client_encoding would not do for a name in every script.
OURS: dict[str, Any] = {"client_encoding": "UTF8", "autocommit": True, "prepare_threshold": None}
"""What each connection has, whatever its URL and its role say."""

_TCP = {
    "connect_timeout": "3",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
}


class Silent(psycopg.OperationalError):
    """The server did not say anything for too long, and the connection was given up."""


class Unusable(psycopg.OperationalError):
    """The server answers, and the database or its URL is not one with which we can work. The text says what to do."""

    is_lasting = True


class BoundedConnection(psycopg.Connection[Any]):
    """Is a connection on which no statement waits for a silent server longer than `silent_s`."""

    silent_s = SILENT_S

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:  # noqa: ANN401 - psycopg's own
        """Return the result of an exchange with the server. Raises Silent."""
        try:
            return super().wait(_bounded(gen, self.silent_s), *args, **kwargs)
        except Silent:
            self.pgconn.finish()  # what it may say later belongs to no statement any more
            raise


def _bounded(exchange: Generator[Any, Any, T], silent_s: float) -> Generator[Any, Any, T]:
    """Go on with an exchange, of which psycopg tells every tenth of a second whether the socket has something."""
    heard_at = time.monotonic()
    try:
        wanted = next(exchange)
        while True:
            ready = yield wanted
            now = time.monotonic()
            if ready:
                heard_at = now
            elif now - heard_at > silent_s:
                raise Silent(f"it said nothing for {silent_s:.1f} s")
            wanted = exchange.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result


def connect(args: list[Any], options: dict[str, Any], patience_s: float) -> BoundedConnection:
    """Return a connection. Raises psycopg.OperationalError, after `patience_s` at the latest.

    In a thread of its own: looking up the server's name is a call that cannot be ended.
    """
    found: Future[BoundedConnection] = Future()
    Thread(target=_connect, args=(found, args, options), name="connect-database", daemon=True).start()
    try:
        return found.result(patience_s)
    except FutureTimeout:
        if not found.cancel():
            return found.result()  # it came at this very moment
        raise Silent(f"there is no connection after {patience_s:.1f} s") from None


def _connect(found: Future[BoundedConnection], args: list[Any], options: dict[str, Any]) -> None:
    defaults = {"application_name": "vpnkeys", **_TCP}
    try:
        made = BoundedConnection.connect(*args, **(defaults | options | OURS))
        _require_utf8(made)
    except BaseException as error:  # noqa: BLE001 - raised where it is waited for
        if found.set_running_or_notify_cancel():
            found.set_exception(error)
        return
    if found.set_running_or_notify_cancel():
        found.set_result(made)
    else:
        made.close()


def _require_utf8(connection: BoundedConnection) -> None:
    """Close the connection and raise Unusable when the database cannot store every text, as the server has told."""
    encoding = (connection.pgconn.parameter_status(b"server_encoding") or b"UTF8").decode()
    if encoding != "UTF8":
        connection.close()
        raise Unusable(
            f"its encoding is {encoding} and not UTF8; make one by createdb --encoding=UTF8 --template=template0 (its "
            "data move there by pg_dump and vpnkeys database load)"
        )
