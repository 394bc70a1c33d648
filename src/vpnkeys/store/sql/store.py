"""Stores keys, tokens, traffic and the audit log in an SQL database."""

import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError

from vpnkeys.domain.audit import Entry, Outcome, Record
from vpnkeys.domain.change import Intent, KeptAnswer, Stop
from vpnkeys.domain.event import events_of_keys
from vpnkeys.domain.key import Key
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import Bytes, Point, Samples, Tally, Total, Traffic
from vpnkeys.domain.webhook import Delivery, Webhook
from vpnkeys.interfaces import BRIEFLY_S, PATIENCE_S
from vpnkeys.store.sql.audit import read_records, utc_now, write_records
from vpnkeys.store.sql.engine import Reading, Translated, Watcher
from vpnkeys.store.sql.faults import Cause, cause_of
from vpnkeys.store.sql.ledger import SqlLedger
from vpnkeys.store.sql.memory import Tables, read_all, read_changed
from vpnkeys.store.sql.outbox import SqlOutbox, read_newest, read_unsettled
from vpnkeys.store.sql.tables import idempotency
from vpnkeys.store.sql.transaction import SqlTransaction
from vpnkeys.store.sql.writers import Writers

_LEAST_S = 0.05
"""How long a writer waits for SQLite's lock at least, also when it has used up its time in the queue."""


class SqlStore:
    """Implements `interfaces.Store`.

    On SQLite the tables of `Tables` are read once and kept until they change: `PRAGMA data_version` on a connection
    that never writes says, in microseconds, whether any other connection of any process has committed, and the tables'
    generations say which tables that changed. What a transaction here makes of keys, intents and stops is kept without
    reading it back.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writers = Writers.of(engine)
        self._lock = threading.Lock()
        self._kept = Tables()
        self._is_stuck = False
        with Translated():
            self._open_reader()

    def _open_reader(self) -> None:
        # A connection of its own that never writes, because data_version does not count a connection's own commits.
        self._reader = self._engine.connect() if self._engine.dialect.name == "sqlite" else None
        self._watcher = Watcher(self._reader) if self._reader is not None else None

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

    def _now(self) -> Tables:
        with Reading():
            if self._reader is None or self._watcher is None:
                with self._engine.begin() as connection:
                    return read_all(connection)
            with self._lock:
                if self._reader.closed:
                    self._open_reader()
                    self._kept = replace(self._kept, version=None)  # each connection counts versions of its own
                return self._kept_or_read(self._reader, self._watcher)

    def _kept_or_read(self, reader: Connection, watcher: Watcher) -> Tables:
        # The numbers are read before the tables: a commit in between is then noticed the next time.
        version = watcher.data_version()
        if version != self._kept.version:
            generations = watcher.generations()
            if generations != self._kept.generations:
                with reader.begin():
                    self._kept = read_changed(reader, self._kept, generations)
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

    def counted(self, epoch: str, uuid: str) -> Bytes:
        """Return the bytes of a key that were counted in an epoch."""
        with Reading(), self._engine.begin() as connection:
            return SqlLedger(connection).counted(epoch, uuid)

    def used_bytes(self, since: Mapping[str, datetime | None], fresh: Iterable[Samples] = ()) -> Mapping[str, int]:
        """Return the bytes that keys have used since a time each, by UUID."""
        with Reading(), self._engine.begin() as connection:
            return SqlLedger(connection).used_bytes(since, fresh)

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
    def write(self, *, durable: bool = True, patience_s: float = PATIENCE_S) -> Iterator[SqlTransaction]:
        """Return a write transaction that commits when the block ends, and is rolled back when the block raises."""
        with Translated(), self._writing(durable=durable, patience_s=patience_s) as connection:
            # The write lock is held from here on, so that what is kept in memory stays right if it is right now.
            kept = read_all(connection) if self._reader is None else self._now()
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

    def _keep(self, before: Tables, transaction: SqlTransaction, generations: Mapping[str, int]) -> None:
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
    def _writing(self, *, durable: bool = True, patience_s: float = PATIENCE_S) -> Iterator[Connection]:
        if self._is_stuck:
            patience_s = min(patience_s, BRIEFLY_S)
        ends_at = time.monotonic() + patience_s
        try:
            # The turn comes first, so that writers that wait for theirs leave the pool's connections to readers.
            with self._writers.turn(patience_s), self._engine.connect() as connection:
                left_s = max(ends_at - time.monotonic(), _LEAST_S)
                connection.execution_options(writes=True, durable=durable, busy_timeout_s=left_s)
                with connection.begin():
                    self._is_stuck = False
                    yield connection
        except DBAPIError as error:
            self._learn_from(cause_of(error), patience_s)
            raise

    def _learn_from(self, cause: Cause | None, waited_s: float) -> None:
        """Note a lock that is held for long, and open the database again after its disk was read-only."""
        if cause is Cause.BUSY and waited_s > BRIEFLY_S:
            # All who ask now would wait as long for nothing, and the keys that have to stop would wait for them.
            self._is_stuck = True
        elif cause is Cause.READ_ONLY:
            # The only connection that is kept open (see `open_engine`); the next read opens another one.
            with self._lock:
                if self._reader is not None:
                    self._reader.close()

    def close(self) -> None:
        """Close all connections."""
        if self._reader is not None:
            self._reader.close()
        self._engine.dispose()
