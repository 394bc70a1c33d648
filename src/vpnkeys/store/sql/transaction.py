"""Implements a write transaction of an SQL database."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from vpnkeys.domain.audit import Entry, Outcome, key_created, key_deleted, key_updated
from vpnkeys.domain.change import Intent, KeptAnswer, Stop
from vpnkeys.domain.event import NewEvent, event_of_gap
from vpnkeys.domain.key import Key
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import Gap
from vpnkeys.store.sql.audit import utc_now, write_records
from vpnkeys.store.sql.ledger import SqlLedger
from vpnkeys.store.sql.outbox import SqlOutbox
from vpnkeys.store.sql.rows import to_row, token_row
from vpnkeys.store.sql.tables import idempotency, subscriptions
from vpnkeys.store.sql.tables import intents as intents_table
from vpnkeys.store.sql.tables import keys as keys_table
from vpnkeys.store.sql.tables import stops as stops_table
from vpnkeys.store.sql.tables import tokens as tokens_table

_MAX_PORT = 65535
_INSERT_KEY = insert(keys_table)
_UPDATE_KEY = update(keys_table).where(keys_table.c.id == bindparam("of_id"))
_DELETE_KEY = delete(keys_table).where(keys_table.c.id == bindparam("of_id"))
_INSERT_INTENT = insert(intents_table)
_DROP_INTENTS = delete(intents_table)
_INSERT_STOP = insert(stops_table)
_DROP_STOP = delete(stops_table).where(stops_table.c.key_id == bindparam("of_id"))

# Another key that has something of what an intent reserves.
_HOLDER = (
    select(keys_table.c.id)
    .where(
        or_(
            keys_table.c.uuid == bindparam("uuid"),
            keys_table.c.new_uuid == bindparam("uuid"),
            keys_table.c.port == bindparam("port"),
            keys_table.c.short_id == bindparam("short_id"),
        ),
        keys_table.c.id.not_in(select(intents_table.c.key_id)),
    )
    .limit(1)
)


@dataclass(slots=True)
class SqlTransaction:
    """Implements `interfaces.Transaction` on one connection; its keys, intents and stops include its own changes.

    `entries` are the records for the audit log, `new_events` the events besides those that follow from keys.
    """

    _connection: Connection
    _keys: tuple[Key, ...]
    _intents: tuple[Intent, ...]
    _stops: tuple[Stop, ...]
    outbox: SqlOutbox
    entries: list[Entry] = field(default_factory=list)
    new_events: list[NewEvent] = field(default_factory=list)

    def keys(self) -> tuple[Key, ...]:
        """Return all keys, oldest first."""
        return self._keys

    def intents(self) -> tuple[Intent, ...]:
        """Return the intents of keys that are being started."""
        return self._intents

    def stops(self) -> tuple[Stop, ...]:
        """Return the stops that are not finished."""
        return self._stops

    def insert(self, key: Key) -> None:
        """Add a key."""
        self._connection.execute(_INSERT_KEY, to_row(key))
        self._set_keys(*self._keys, key)
        self.entries.append(key_created(key))

    def update(self, *keys: Key) -> None:
        """Change keys; they may swap ports.

        Ports must be unique after every statement, not only at the commit. So keys that move first get a spare port.
        """
        changed = {key.id: key for key in keys}
        pairs = [(was, changed[was.id]) for was in self._keys if was.id in changed]
        moving = [was.id for was, key in pairs if was.port != key.port]
        taken = {key.port for key in (*self._keys, *keys)} if moving else set()
        spare = (port for port in range(_MAX_PORT, 0, -1) if port not in taken)
        for key_id in moving:
            self._connection.execute(_UPDATE_KEY, {"of_id": key_id, "port": next(spare)})
        for was, key in pairs:
            if key != was:
                self._connection.execute(_UPDATE_KEY, {"of_id": key.id, **to_row(key)})
                self.entries += key_updated(was, key)
        self._set_keys(*(changed.get(key.id, key) for key in self._keys))

    def delete(self, key_id: str) -> None:
        """Remove a key."""
        self._connection.execute(_DELETE_KEY, {"of_id": key_id})
        self.entries += (key_deleted(key) for key in self._keys if key.id == key_id)
        self._set_keys(*(key for key in self._keys if key.id != key_id))

    def _set_keys(self, *keys: Key) -> None:
        # In the order of the query that reads the table, so that what is kept in memory equals what is read.
        self._keys = tuple(sorted(keys, key=lambda key: (key.created_at, key.id)))

    @property
    def ledger(self) -> SqlLedger:
        """Return the accounts of traffic."""
        return SqlLedger(self._connection, self._tell_of_gap)

    def add_event(self, event: NewEvent) -> None:
        """Notify webhooks of this event too."""
        self.new_events.append(event)

    def _tell_of_gap(self, gap: Gap) -> None:
        if any(key.created_at < gap.until for key in self._keys):  # a key that was made later lost no byte in it
            self.add_event(event_of_gap(gap))

    def record(self, entry: Entry) -> None:
        """Add this record to the audit log too."""
        self.entries.append(entry)

    def record_taken_back(self, entries: Iterable[Entry], why: str) -> None:
        """Add records of changes that were begun and taken back, with the reason."""
        write_records(self._connection, entries, utc_now(), Outcome.TAKEN_BACK, why)

    def put_intents(self, intents: Iterable[Intent]) -> None:
        """Reserve what these keys will have. Raises ValueError when another key has it already.

        Two intents are kept apart by the table's unique columns; a key and an intent are in two tables, so the query
        here keeps them apart. A key that is being started itself holds what its own intent says, and nothing else:
        when ports are handed out again, each key may get the one that its neighbour leaves.
        """
        intents = tuple(intents)
        for intent in intents:
            self._connection.execute(_INSERT_INTENT, asdict(intent))
        for intent in intents:
            if (other := self._connection.execute(_HOLDER, asdict(intent)).scalar()) is not None:
                msg = f"key {other} has the port, UUID or short id of key {intent.key_id}, which is being started"
                raise ValueError(msg)
        self._intents += intents

    def drop_intents(self) -> None:
        """Remove all intents."""
        self._connection.execute(_DROP_INTENTS)
        self._intents = ()

    def put_stops(self, stops: Iterable[Stop]) -> None:
        """Add stops, or replace those of the same keys; of several stops of one key, store the last."""
        stops = tuple({stop.key_id: stop for stop in stops}.values())
        self.drop_stops(stop.key_id for stop in stops)
        for stop in stops:
            self._connection.execute(_INSERT_STOP, asdict(stop))
        self._stops += stops

    def drop_stops(self, key_ids: Iterable[str]) -> None:
        """Remove the stops of these keys."""
        # Most changes have none to remove, and a statement for nothing costs as much as one that does something.
        known = {stop.key_id for stop in self._stops}
        if gone := known.intersection(key_ids):
            self._connection.execute(_DROP_STOP, [{"of_id": key_id} for key_id in gone])
            self._stops = tuple(stop for stop in self._stops if stop.key_id not in gone)

    def put_token(self, token: Token) -> None:
        """Add a token, or replace the one with its id."""
        # Nothing refers to a token's row, so it can be deleted and added again, whether it was there or not.
        self._connection.execute(delete(tokens_table).where(tokens_table.c.id == token.id))
        self._connection.execute(insert(tokens_table).values(token_row(token)))

    def put_subscription(self, subscription: Subscription) -> None:
        """Give a key a subscription, in place of the one it has."""
        self.delete_subscription(subscription.key_id)
        self._connection.execute(insert(subscriptions).values(asdict(subscription)))

    def delete_subscription(self, key_id: str) -> None:
        """Delete a key's subscription, if it has one."""
        self._connection.execute(delete(subscriptions).where(subscriptions.c.key_id == key_id))

    def remember(self, answer: KeptAnswer) -> None:
        """Store an answer, in place of an expired one with the same hash."""
        self._connection.execute(delete(idempotency).where(idempotency.c.key_hash == answer.key_hash))
        values = {"key_hash": answer.key_hash, "body_hash": answer.body_hash, "answer": answer.answer}
        self._connection.execute(insert(idempotency).values(values | {"created_at": answer.at}))

    def forget(self, before: datetime) -> None:
        """Delete answers that were stored before then."""
        self._connection.execute(delete(idempotency).where(idempotency.c.created_at < before))
