"""Stores keys, tokens, traffic and the audit log in an SQL database."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Engine, select

from vpnkeys.domain.audit import Entry, Outcome, Record
from vpnkeys.domain.change import Intent, KeptAnswer, Stop
from vpnkeys.domain.event import events_of_keys
from vpnkeys.domain.key import Key
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import Point, Tally, Total, Traffic
from vpnkeys.domain.webhook import Delivery, Webhook
from vpnkeys.store.sql.audit import read_records, utc_now, write_records
from vpnkeys.store.sql.engine import Reading, Translated, Watcher
from vpnkeys.store.sql.ledger import SqlLedger
from vpnkeys.store.sql.outbox import SqlOutbox, read_newest, read_unsettled, read_webhooks
from vpnkeys.store.sql.rows import to_key, to_token
from vpnkeys.store.sql.tables import idempotency
from vpnkeys.store.sql.tables import intents as intents_table
from vpnkeys.store.sql.tables import keys as keys_table
from vpnkeys.store.sql.tables import stops as stops_table
from vpnkeys.store.sql.tables import subscriptions as subscriptions_table
from vpnkeys.store.sql.tables import tokens as tokens_table
from vpnkeys.store.sql.transaction import SqlTransaction
from vpnkeys.store.sql.writers import Writers

_ALL_KEYS = select(keys_table).order_by(keys_table.c.created_at, keys_table.c.id)
_ALL_TOKENS = select(tokens_table).order_by(tokens_table.c.created_at, tokens_table.c.id)
_ALL_SUBSCRIPTIONS = select(subscriptions_table)
_ALL_INTENTS = select(intents_table)
_ALL_STOPS = select(stops_table)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """Holds the tables that are kept in memory: each as of its generation, all of them right at `version`."""

    version: int | None = None
    generations: Mapping[str, int] = field(default_factory=dict)
    keys: tuple[Key, ...] = ()
    tokens: tuple[Token, ...] = ()
    subscriptions: Mapping[str, Subscription] = field(default_factory=dict)
    webhooks: tuple[Webhook, ...] = ()
    intents: tuple[Intent, ...] = ()
    stops: tuple[Stop, ...] = ()


class SqlStore:
    """Implements `interfaces.Store`.

    On SQLite the tables of `_Snapshot` are read once and kept until they change: `PRAGMA data_version` on a connection
    that never writes says, in microseconds, whether any other connection of any process has committed, and the tables'
    generations say which tables that changed. What a transaction here makes of keys, intents and stops is kept without
    reading it back.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writers = Writers.of(engine)
        # A connection of its own that never writes, because data_version does not count a connection's own commits.
        with Translated():
            self._reader = engine.connect() if engine.dialect.name == "sqlite" else None
        self._watcher = Watcher(self._reader) if self._reader is not None else None
        self._lock = threading.Lock()
        self._kept = _Snapshot()

    def keys(self) -> tuple[Key, ...]:
        """Return all keys, oldest first."""
        return self._now().keys

    def tokens(self) -> tuple[Token, ...]:
        """Return all tokens, oldest first."""
        return self._now().tokens

    def subscriptions(self) -> Mapping[str, Subscription]:
        """Return all subscriptions, by the hash of their tokens."""
        return self._now().subscriptions

    def webhooks(self) -> tuple[Webhook, ...]:
        """Return all webhooks, oldest first."""
        return self._now().webhooks

    def intents(self) -> tuple[Intent, ...]:
        """Return the intents of keys that are being started."""
        return self._now().intents

    def stops(self) -> tuple[Stop, ...]:
        """Return the stops that are not finished."""
        return self._now().stops

    def answered(self, key_hash: str, since: datetime) -> KeptAnswer | None:
        """Return the answer that was stored under this hash since then, None when there is none."""
        kept = idempotency.c
        wanted = select(idempotency).where(kept.key_hash == key_hash, kept.created_at >= since)
        with Reading(), self._engine.begin() as connection:
            row = connection.execute(wanted).first()
        return None if row is None else KeptAnswer(*row)

    def unsettled(self, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
        """Return up to `limit` deliveries that a webhook still waits for, oldest first."""
        with Reading(), self._engine.begin() as connection:
            return read_unsettled(connection, webhook_id, limit)

    def deliveries(self, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
        """Return up to `limit` deliveries of a webhook, newest first."""
        with Reading(), self._engine.begin() as connection:
            return read_newest(connection, webhook_id, limit)

    def _now(self) -> _Snapshot:
        with Reading():
            if self._reader is None or self._watcher is None:
                with self._engine.begin() as connection:
                    return _read(connection)
            with self._lock:
                return self._kept_or_read(self._reader, self._watcher)

    def _kept_or_read(self, reader: Connection, watcher: Watcher) -> _Snapshot:
        # The numbers are read before the tables: a commit in between is then noticed the next time.
        version = watcher.data_version()
        if version != self._kept.version:
            generations = watcher.generations()
            if generations != self._kept.generations:
                with reader.begin():
                    self._kept = _read_changed(reader, self._kept, generations)
            self._kept = replace(self._kept, version=version)
        return self._kept

    def traffic(self, uuid: str) -> Traffic:
        """Return what a key has used."""
        with Reading(), self._engine.begin() as connection:
            return SqlLedger(connection).traffic(uuid)

    def traffic_of(self, uuids: Collection[str]) -> Mapping[str, Traffic]:
        """Return what several keys have used, by UUID."""
        with Reading(), self._engine.begin() as connection:
            return SqlLedger(connection).traffic_of(uuids)

    def used_bytes(self, uuid: str, since: datetime | None) -> int:
        """Return the bytes that a key has used since then."""
        with Reading(), self._engine.begin() as connection:
            return SqlLedger(connection).used_bytes(uuid, since)

    def totals(self) -> Mapping[str, Total]:
        """Return what each key has used, by UUID."""
        with Reading(), self._engine.begin() as connection:
            return SqlLedger(connection).totals()

    def tally(self) -> Tally:
        """Return all that was ever counted."""
        with Reading(), self._engine.begin() as connection:
            return SqlLedger(connection).tally()

    def history(self, uuid: str | None, since: datetime, until: datetime) -> tuple[Point, ...]:
        """Return what was counted by hour."""
        with Reading(), self._engine.begin() as connection:
            return SqlLedger(connection).history(uuid, since, until)

    def audit(self, limit: int, before_id: int | None = None, subject: str | None = None) -> tuple[Record, ...]:
        """Return the newest records, newest first."""
        with Reading(), self._engine.begin() as connection:
            return read_records(connection, limit, before_id, subject)

    def record(self, entry: Entry, outcome: Outcome, detail: str = "") -> None:
        """Add a record to the audit log, in a transaction of its own."""
        with Translated(), self._writing() as connection:
            write_records(connection, [entry], utc_now(), outcome, detail)

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[SqlTransaction]:
        """Return a write transaction that commits when the block ends, and is rolled back when the block raises."""
        with Translated(), self._writing(durable=durable) as connection:
            # The write lock is held from here on, so that what is kept in memory stays right if it is right now.
            kept = _read(connection) if self._reader is None else self._now()
            outbox = SqlOutbox(connection, kept.webhooks)
            transaction = SqlTransaction(connection, kept.keys, kept.intents, kept.stops, outbox)
            yield transaction
            # Audit and webhooks are in the same commit, so that no change can lack them, whatever happens.
            now = utc_now()
            write_records(connection, transaction.entries, now, Outcome.DONE)
            transaction.outbox.add_events(
                chain(transaction.new_events, events_of_keys(kept.keys, transaction.keys())), now
            )
            # Before the commit: read after it, the numbers could count a change of another writer.
            generations = {} if self._reader is None else Watcher(connection).generations()
        self._keep(kept, transaction, generations)

    def _keep(self, before: _Snapshot, transaction: SqlTransaction, generations: Mapping[str, int]) -> None:
        """Keep in memory what a transaction committed, unless something newer has been read meanwhile."""
        left: dict[str, Any] = {
            "keys": transaction.keys(),
            "intents": transaction.intents(),
            "stops": transaction.stops(),
        }
        with self._lock:
            known = self._kept.generations
            changed = [
                name for name in left if generations.get(name) != before.generations.get(name) == known.get(name)
            ]
            if changed:
                numbers = {**known, **{name: generations[name] for name in changed}}
                self._kept = replace(self._kept, generations=numbers, **{name: left[name] for name in changed})

    @contextmanager
    def _writing(self, *, durable: bool = True) -> Iterator[Connection]:
        # The turn comes first, so that writers that wait for theirs leave the pool's connections to readers.
        with (
            self._writers.turn(),
            self._engine.connect().execution_options(writes=True, durable=durable) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Close all connections."""
        if self._reader is not None:
            self._reader.close()
        self._engine.dispose()


def _read(connection: Connection) -> _Snapshot:
    return _Snapshot(**{name: read(connection) for name, read in _READERS.items()})


def _read_changed(connection: Connection, old: _Snapshot, generations: Mapping[str, int]) -> _Snapshot:
    """Return the old snapshot with the tables read again whose generation changed."""
    changed = [name for name in _READERS if old.generations.get(name) != generations.get(name)]
    return replace(old, generations=generations, **{name: _READERS[name](connection) for name in changed})


def _read_keys(connection: Connection) -> tuple[Key, ...]:
    rows = connection.execute(_ALL_KEYS)
    return tuple(to_key(row._mapping) for row in rows)  # noqa: SLF001 - SQLAlchemy's public name for it


def _read_tokens(connection: Connection) -> tuple[Token, ...]:
    rows = connection.execute(_ALL_TOKENS)
    return tuple(to_token(row._mapping) for row in rows)  # noqa: SLF001 - as above


def _read_subscriptions(connection: Connection) -> dict[str, Subscription]:
    found = (Subscription(*row) for row in connection.execute(_ALL_SUBSCRIPTIONS))
    return {subscription.token_hash: subscription for subscription in found}


def _read_intents(connection: Connection) -> tuple[Intent, ...]:
    return tuple(Intent(*row) for row in connection.execute(_ALL_INTENTS))


def _read_stops(connection: Connection) -> tuple[Stop, ...]:
    return tuple(Stop(*row) for row in connection.execute(_ALL_STOPS))


# The names are those of the tables, of their generations and of the fields of `_Snapshot`.
_READERS: Mapping[str, Callable[[Connection], Any]] = {
    "keys": _read_keys,
    "tokens": _read_tokens,
    "subscriptions": _read_subscriptions,
    "webhooks": read_webhooks,
    "intents": _read_intents,
    "stops": _read_stops,
}
