"""Hears when another server changes a PostgreSQL database. What is heard wakes, and says nothing more.

A pooler may drop what a session listens for without a word, and a standby cannot listen: who waits here looks at the
database after a second in any case.
"""

import time
from contextlib import suppress
from typing import Any

import psycopg
from sqlalchemy import Engine

from vpnkeys.store.sql.postgresql.connection import OURS

CHANNEL = "vpnkeys"
"""What the triggers of tables that are kept in memory notify (`store/sql/triggers.py`)."""

_AGAIN_AFTER_S = 10.0


class Listener:
    """Listens on a connection of its own, in one thread. Without one it only waits."""

    def __init__(self, engine: Engine) -> None:
        self._args, self._options = engine.dialect.create_connect_args(engine.url)
        self._connection: psycopg.Connection[Any] | None = None
        self._tried_at = float("-inf")

    def wait(self, most_s: float) -> None:
        """Return when another server may have changed something, after so many seconds at most."""
        ends_at = time.monotonic() + most_s
        try:
            heard = self._listening()
            if heard is not None:
                for _ in heard.notifies(timeout=most_s, stop_after=1):
                    return
        except psycopg.Error:
            self.close()
        time.sleep(max(0.0, ends_at - time.monotonic()))

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _listening(self) -> psycopg.Connection[Any] | None:
        """Return the connection; None when there was none lately. Raises psycopg.Error."""
        now = time.monotonic()
        if self._connection is None and now - self._tried_at >= _AGAIN_AFTER_S:
            self._tried_at = now
            bounded = {"connect_timeout": "3", "keepalives_idle": "10", "keepalives_interval": "5"}
            made = psycopg.connect(*self._args, **{**bounded, **self._options, **OURS})
            self._connection = made
            made.execute(f"LISTEN {CHANNEL}")
        return self._connection
