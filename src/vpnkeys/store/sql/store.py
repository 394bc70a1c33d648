"""Stores keys, tokens, traffic and the audit log in an SQL database."""

import math
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from vpnkeys.domain.audit import EVERYTHING, Entry, Filter, Outcome, Record
from vpnkeys.domain.change import Intent, KeptAnswer, Stop
from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.event import events_of_keys
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits.near import Notice
from vpnkeys.domain.nodes import LOCAL, NodeRecord, Sighting
from vpnkeys.domain.nodes.door import Door
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import Bytes, EpochSample, Point, Samples, Tally, Total, Traffic
from vpnkeys.domain.webhook import Delivery, Webhook
from vpnkeys.interfaces import BRIEFLY_S, PATIENCE_S, ForNodes
from vpnkeys.store.sql.audit import read_records, utc_now, write_records
from vpnkeys.store.sql.engine import KeptFromFile, Reading, Translated
from vpnkeys.store.sql.faults import Cause, cause_of, commit_unknown, translated
from vpnkeys.store.sql.ledger import SqlLedger
from vpnkeys.store.sql.memory import Tables
from vpnkeys.store.sql.nodes.book import knows_join, read_answer, read_online, read_sightings
from vpnkeys.store.sql.outbox import SqlOutbox, read_newest, read_notices, read_unsettled
from vpnkeys.store.sql.postgresql.kept import KeptFromServer, in_event_loop
from vpnkeys.store.sql.postgresql.trial import try_out
from vpnkeys.store.sql.transaction import SqlTransaction, begun
from vpnkeys.store.sql.writers import Writers

_LEAST_S = 0.05  # a writer waits so long for the database's lock, also when its time in the queue is used up
_REMOTE_PATIENCE_S = 1.5  # the most that a writer waits for others elsewhere: a request has its answer within 3 s


class SqlStore:
    """Implements `interfaces.Store`.

    Keys and what else is asked for all the time are kept until they change (`Kept`); what a transaction here makes of
    keys, intents and stops is not read back. `owner` names this server among those that share the database.
    """

    def __init__(self, engine: Engine, owner: str = "") -> None:
        self._engine = engine
        self._owner = owner
        self._writers = Writers.of(engine)
        self._is_stuck, self._refusal = False, ""
        self.is_remote = engine.dialect.name != "sqlite"
        self._most_patience_s = _REMOTE_PATIENCE_S if self.is_remote else math.inf
        with Translated():
            self._kept = KeptFromServer(self._reading) if self.is_remote else KeptFromFile(engine)

    def may_wait(self) -> bool:
        """Return whether the calling thread may ask: an event loop waits for no database elsewhere."""
        return not (self.is_remote and in_event_loop())

    def look(self) -> None:
        """Look at what other processes have changed; afterwards an event loop may read it. Raises StoreUnavailable."""
        self._now()

    def last_known(self) -> tuple[tuple[Key, ...], tuple[Intent, ...], tuple[Stop, ...]]:
        """Return keys, intents and stops as they are now; of the last look while a database elsewhere is silent."""
        found = self._last_known()
        return found.keys, found.intents, found.stops

    def refusal(self) -> str:
        """Return why the database takes no changes: of the last look, or of the last change since `try_out`."""
        return Cause.STANDBY.value if self._kept.is_standby else self._refusal

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

    def nodes(self) -> tuple[NodeRecord, ...]:
        """Return all nodes, in the order of their ids; as of the last look while a database elsewhere is silent."""
        # Which keys are of this server's own node has to be known then too: they are stopped without the database.
        return self._last_known().nodes

    def doors(self) -> tuple[Door, ...]:
        """Return all doors, by port; as of the last look while a database elsewhere is silent."""
        return self._last_known().doors

    def _last_known(self) -> Tables:
        try:
            return self._now()
        except StoreUnavailable:
            if not self.is_remote:
                raise
            return self._kept.last

    def knows_join(self, digest: str) -> bool:
        """Return whether there was ever a join with this digest."""
        with self._reading() as connection:
            return knows_join(connection, digest)

    def for_nodes(self) -> ForNodes:
        """Return what nodes elsewhere should have, of one moment."""
        return self._now().for_nodes()

    def sightings(self, node_id: int | None = None) -> Mapping[int, Sighting]:
        """Return how nodes elsewhere were last seen, by id."""
        with self._reading() as connection:
            return read_sightings(connection, node_id)

    def online(self, since: datetime, until: datetime) -> Mapping[str, int]:
        """Return from how many devices keys are online on nodes that were seen between these, by account."""
        with self._reading() as connection:
            return read_online(connection, since, until)

    def revision(self) -> int:
        """Return a number that grows with each change of keys, of their stops, and of what is being placed."""
        return self._now().revision

    def answered(self, key_hash: str, since: datetime) -> KeptAnswer | None:
        """Return the answer that was stored under this hash since then, None when there is none."""
        with self._reading() as connection:
            return read_answer(connection, key_hash, since)

    def unsettled(self, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
        """Return up to `limit` deliveries that a webhook still waits for, oldest first."""
        with self._reading() as connection:
            return read_unsettled(connection, webhook_id, limit)

    def deliveries(self, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
        """Return up to `limit` deliveries of a webhook, newest first."""
        with self._reading() as connection:
            return read_newest(connection, webhook_id, limit)

    def _now(self) -> Tables:
        with Reading():
            return self._kept.now()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Return a transaction that only reads. Raises StoreUnavailable."""
        brief = {"busy_timeout_s": BRIEFLY_S} if self._is_stuck and self.is_remote else {}
        with Reading():
            try:
                with self._begun(**brief) as connection:
                    yield connection
            except DBAPIError as error:
                self._is_stuck = self._is_stuck or (self.is_remote and cause_of(error) is Cause.BUSY)
                raise

    def traffic(self, uuid: str) -> Traffic:
        """Return what a key has used."""
        return self.traffic_of([uuid])[uuid]

    def traffic_of(self, uuids: Collection[str]) -> Mapping[str, Traffic]:
        """Return what several keys have used, by UUID."""
        with self._reading() as connection:
            return SqlLedger(connection).traffic_of(uuids)

    def notices(self) -> Mapping[str, Notice]:
        """Return how near keys are to their traffic limits, by id, as webhooks have been notified."""
        with self._reading() as connection:
            return read_notices(connection)

    def counted(self, epoch: str, uuid: str, node_id: int = LOCAL.id) -> Bytes:
        """Return the bytes of a key that were counted in an epoch of a node."""
        with self._reading() as connection:
            return SqlLedger(connection).counted(epoch, uuid, node_id)

    def used_bytes(self, since: Mapping[str, datetime | None], fresh: Iterable[Samples] = ()) -> Mapping[str, int]:
        """Return the bytes that keys have used since a time each, by UUID."""
        with self._reading() as connection:
            return SqlLedger(connection).used_bytes(since, fresh)

    def totals(self) -> Mapping[str, Total]:
        """Return what each key has used, by UUID."""
        with self._reading() as connection:
            return SqlLedger(connection).totals()

    def tally(self) -> Tally:
        """Return all that was ever merged."""
        with self._reading() as connection:
            return SqlLedger(connection).tally()

    def counted_by_key(self) -> Mapping[str, Bytes]:
        """Return the bytes ever counted of each existing key, by UUID."""
        with self._reading() as connection:
            return SqlLedger(connection).counted_by_key()

    def counted_by_node(self) -> Mapping[int, Bytes]:
        """Return the bytes ever counted on each node, by its id, of the keys that exist."""
        with self._reading() as connection:
            return SqlLedger(connection).counted_by_node()

    def lives(self, node_id: int = LOCAL.id) -> tuple[EpochSample, ...]:
        """Return all counters of a node, by the life of its Xray."""
        with self._reading() as connection:
            return SqlLedger(connection).lives(node_id)

    def history(self, uuid: str | None, since: datetime, until: datetime) -> tuple[Point, ...]:
        """Return what was counted by hour."""
        with self._reading() as connection:
            return SqlLedger(connection).history(uuid, since, until)

    def audit(
        self, limit: int, before_id: int | None = None, subject: str | None = None, chosen: Filter = EVERYTHING
    ) -> tuple[Record, ...]:
        """Return the newest records, newest first."""
        with self._reading() as connection:
            return read_records(connection, limit, before_id, subject, chosen)

    def record(self, entry: Entry, outcome: Outcome, detail: str = "") -> None:
        """Add a record to the audit log, in a transaction of its own."""
        with Translated(), self._writing() as connection:
            write_records(connection, [entry], utc_now(), outcome, detail)

    def try_out(self, answer: KeptAnswer) -> None:
        """Store an answer by all that a change of keys needs. Raises StoreUnavailable; else no `refusal` is left."""
        with self.write(durable=False) as transaction:
            transaction.remember(answer)
            if self.is_remote:
                try_out(transaction.connection)
        self._refusal = ""

    @contextmanager
    def write(self, *, durable: bool = True, patience_s: float = PATIENCE_S) -> Iterator[SqlTransaction]:
        """Return a write transaction that commits when the block ends, and is rolled back when the block raises."""
        with Translated(), self._writing(durable=durable, patience_s=patience_s) as connection:
            # The write lock is held from here on, so that what is kept in memory stays right if it is right now.
            kept = self._kept.within(connection)
            outbox = SqlOutbox(connection, kept.webhooks)
            transaction = SqlTransaction(connection, kept.keys, kept.intents, kept.stops, outbox, self._owner)
            yield transaction
            # Audit and webhooks are in the same commit, so that no change can lack them, whatever happens.
            now = utc_now()
            write_records(connection, transaction.entries, now, Outcome.DONE)
            changed = events_of_keys(*(keys.among(transaction.named) for keys in (kept.keys, transaction.keys())))
            transaction.outbox.add_events([*transaction.new_events, *changed], now)
            # Before the commit: read after it, the numbers could count a change of another writer.
            numbers = self._kept.numbers(connection)
        self._kept.keep(kept, transaction, numbers)

    @contextmanager
    def _writing(self, *, durable: bool = True, patience_s: float = PATIENCE_S) -> Iterator[Connection]:
        patience_s = min(patience_s, BRIEFLY_S if self._is_stuck else self._most_patience_s)
        ends_at = time.monotonic() + patience_s
        is_commit = False
        try:
            # The turn comes first, so that writers that wait for theirs leave the pool's connections to readers.
            with self._writers.turn(patience_s):
                left_s = max(ends_at - time.monotonic(), _LEAST_S)
                with self._begun(writes=True, durable=durable, busy_timeout_s=left_s) as connection:
                    self._is_stuck = False
                    yield connection
                    is_commit = True
        except DBAPIError as error:
            if durable and isinstance(translated(error), StoreUnavailable):
                self._refusal = getattr(cause_of(error), "value", "it does not answer")
            if is_commit and error.connection_invalidated:
                raise commit_unknown() from error
            self._learn_from(cause_of(error), patience_s)
            raise

    def _begun(self, **options: object) -> AbstractContextManager[Connection]:
        """Return a connection with a transaction, which is committed when the block ends."""
        if not self.may_wait():
            raise RuntimeError("a database elsewhere was asked in an event loop, which would wait with all its clients")
        return begun(self._engine, options)

    def _learn_from(self, cause: Cause | None, waited_s: float) -> None:
        """Note a lock that is held for long, and open the database again after its disk was read-only."""
        if cause is Cause.BUSY and waited_s > BRIEFLY_S:
            # All who ask now would wait as long for nothing, and the keys that have to stop would wait for them.
            self._is_stuck = True
        elif cause is Cause.READ_ONLY:
            self._kept.forget_connection()  # the only one that is kept open (see `open_engine`)

    def close(self) -> None:
        """Close all connections."""
        self._kept.close()
        self._engine.dispose()
