"""Keys in an SQL database."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.traffic import Point, Traffic
from vpnkeys.store.engine import data_version
from vpnkeys.store.ledger import SqlLedger
from vpnkeys.store.rows import to_key, to_row
from vpnkeys.store.tables import idempotency
from vpnkeys.store.tables import keys as keys_table

_MAX_PORT = 65535
_ALL_KEYS = select(keys_table).order_by(keys_table.c.created_at, keys_table.c.id)


@dataclass(slots=True)
class SqlTransaction:
    """A write transaction on one connection. It knows the keys, and follows its own changes of them."""

    _connection: Connection
    _keys: tuple[Key, ...]

    def keys(self) -> tuple[Key, ...]:
        """All keys, oldest first."""
        return self._keys

    def insert(self, key: Key) -> None:
        """Add a key."""
        self._connection.execute(insert(keys_table).values(to_row(key)))
        self._set_keys(*self._keys, key)

    def update(self, key: Key) -> None:
        """Change a key."""
        self._connection.execute(update(keys_table).where(keys_table.c.id == key.id).values(to_row(key)))
        self._set_keys(*(key if other.id == key.id else other for other in self._keys))

    def delete(self, key_id: str) -> None:
        """Remove a key."""
        self._connection.execute(delete(keys_table).where(keys_table.c.id == key_id))
        self._set_keys(*(key for key in self._keys if key.id != key_id))

    def _set_keys(self, *keys: Key) -> None:
        self._keys = tuple(sorted(keys, key=lambda key: (key.created_at, key.id)))

    def move(self, ports: Mapping[str, int], at: datetime) -> None:
        """Give keys other ports, all at once."""
        # Ports are unique at every step, so that keys which swap theirs step aside first.
        taken = {key.port for key in self._keys} | set(ports.values())
        aside = (port for port in range(_MAX_PORT, 0, -1) if port not in taken)
        for key_id in ports:
            self._connection.execute(update(keys_table).where(keys_table.c.id == key_id).values(port=next(aside)))
        for key_id, port in ports.items():
            values = {"port": port, "port_assigned_at": at}
            self._connection.execute(update(keys_table).where(keys_table.c.id == key_id).values(values))
        self._set_keys(
            *(replace(key, port=ports[key.id], port_assigned_at=at) if key.id in ports else key for key in self._keys)
        )

    @property
    def ledger(self) -> SqlLedger:
        """The accounts of traffic."""
        return SqlLedger(self._connection)

    def remembered(self, key_hash: str, since: datetime) -> tuple[str, str] | None:
        """The body's hash and the answer that were remembered since then."""
        wanted = (idempotency.c.key_hash == key_hash) & (idempotency.c.created_at >= since)
        row = self._connection.execute(select(idempotency.c.body_hash, idempotency.c.answer).where(wanted)).first()
        return (row[0], row[1]) if row else None

    def remember(self, key_hash: str, body_hash: str, answer: str, at: datetime) -> None:
        """Remember an answer."""
        self._connection.execute(delete(idempotency).where(idempotency.c.key_hash == key_hash))
        values = {"key_hash": key_hash, "body_hash": body_hash, "answer": answer, "created_at": at}
        self._connection.execute(insert(idempotency).values(values))

    def forget(self, before: datetime) -> None:
        """Forget older answers."""
        self._connection.execute(delete(idempotency).where(idempotency.c.created_at < before))


class SqlStore:
    """Keeps the promises of `interfaces.Store`.

    On SQLite the keys are read once and kept until somebody commits: `PRAGMA data_version` of a connection that never
    writes tells, in microseconds, whether any other connection did, of this process or another.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = engine.connect() if engine.dialect.name == "sqlite" else None
        self._lock = threading.Lock()
        self._version: int | None = None
        self._keys: tuple[Key, ...] = ()

    def keys(self) -> tuple[Key, ...]:
        """All keys, oldest first."""
        with _translated():
            if self._reader is None:
                with self._engine.begin() as connection:
                    return _keys(connection)
            with self._lock:
                return self._kept_keys(self._reader)

    def _kept_keys(self, reader: Connection) -> tuple[Key, ...]:
        # The version first: a commit in between is then seen the next time.
        version = data_version(reader)
        if version != self._version:
            with reader.begin():
                self._keys = _keys(reader)
            self._version = version
        return self._keys

    def traffic(self, uuid: str) -> Traffic:
        """What a key has used."""
        with _translated(), self._engine.begin() as connection:
            return SqlLedger(connection).traffic(uuid)

    def history(self, uuid: str, since: datetime, until: datetime) -> tuple[Point, ...]:
        """What was counted by hour."""
        with _translated(), self._engine.begin() as connection:
            return SqlLedger(connection).history(uuid, since, until)

    @contextmanager
    def write(self) -> Iterator[SqlTransaction]:
        """A write transaction that commits at its end."""
        with _translated(), self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            # Nobody else writes from here on, so that what was kept, if it is still right, stays right.
            yield SqlTransaction(connection, _keys(connection) if self._reader is None else self.keys())

    def close(self) -> None:
        """Close all connections."""
        if self._reader is not None:
            self._reader.close()
        self._engine.dispose()


def _keys(connection: Connection) -> tuple[Key, ...]:
    rows = connection.execute(_ALL_KEYS)
    return tuple(to_key(row._mapping) for row in rows)  # noqa: SLF001 - SQLAlchemy's public name for it


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, PoolTimeout) as error:
        msg = f"The database does not answer: {getattr(error, 'orig', error)}. Nothing was changed; try again shortly."
        raise StoreUnavailable(msg) from error
