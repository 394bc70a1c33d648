"""Keeps tables of a PostgreSQL database in memory until they change (`engine.py` does it for SQLite)."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count

from sqlalchemy import Connection, text

from vpnkeys.domain.errors import Unavailable
from vpnkeys.store.sql.engine import Kept
from vpnkeys.store.sql.memory import Tables, read_changed

_IS_STANDBY = text("SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean")


class KeptFromServer(Kept):
    """Keeps the tables of a database elsewhere: each look asks the server once which of them have changed.

    Nothing is asked from within an event loop, which would wait with all its clients. What a request needs there is
    looked at before, in a thread (`api/fresh.py`).
    """

    def __init__(self, reading: Callable[[], AbstractContextManager[Connection]]) -> None:
        super().__init__()
        self._reading = reading
        self._looks = count(1)
        self._failed: Unavailable | None = None
        self.now()

    def now(self) -> Tables:
        """Return the tables as last committed by any process; in an event loop, as of the last look.

        Raises Unavailable when the database did not answer.
        """
        if in_event_loop():
            if self._failed is not None:
                raise self._failed
            return self._tables
        look = next(self._looks)
        try:
            with self._reading() as connection:
                found = self.within(connection)
                self.is_standby = bool(connection.scalar(_IS_STANDBY))
        except Unavailable as error:
            self._failed = error
            raise
        self._failed = None
        with self._lock:
            # Of two looks at a time the one that saw more is kept, whichever began or ended first. Where one sees less
            # than what was kept before it began, the database was put back.
            if look > (self._tables.version or 0) or found.is_as_new_as(self._tables):
                self._tables = replace(found, version=next(self._looks))
        return found

    def within(self, connection: Connection) -> Tables:
        """Return the tables as this transaction sees them."""
        known, numbers = self._tables, self.numbers(connection)
        return known if numbers == known.generations else read_changed(connection, known, numbers)

    def _note_newer(self) -> None:
        self._tables = replace(self._tables, version=next(self._looks))

    def forget_connection(self) -> None:
        """Do nothing: no connection stays open."""

    def close(self) -> None:
        """Do nothing: no connection stays open."""


def in_event_loop() -> bool:
    """Return whether this is called by the thread of an event loop, which must wait for nothing."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
