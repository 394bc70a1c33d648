"""A write transaction of an SQL database."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from vpnkeys.domain.audit import Entry, Outcome, key_created, key_deleted, key_updated
from vpnkeys.domain.change import Answer, Intent, Stop
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
            keys_table.c.port == bindparam("port"),
            keys_table.c.short_id == bindparam("short_id"),
        ),
        keys_table.c.id != bindparam("key_id"),
    )
    .limit(1)
)


@dataclass(slots=True)
class SqlTransaction:
    """A write transaction on one connection. It knows keys, intents and stops, and follows its own changes of them.

    `entries` is what the audit log will say of it, `new_events` what webhooks receive besides the events of its keys.
    """

    _connection: Connection
    _keys: tuple[Key, ...]
    _intents: tuple[Intent, ...]
    _stops: tuple[Stop, ...]
    outbox: SqlOutbox
    entries: list[Entry] = field(default_factory=list)
    new_events: list[NewEvent] = field(default_factory=list)

    def keys(self) -> tuple[Key, ...]:
        """All keys, oldest first."""
        return self._keys

    def intents(self) -> tuple[Intent, ...]:
        """The keys that are being started."""
        return self._intents

    def stops(self) -> tuple[Stop, ...]:
        """The keys that have to stop."""
        return self._stops

    def insert(self, key: Key) -> None:
        """Add a key."""
        self._connection.execute(_INSERT_KEY, to_row(key))
        self._set_keys(*self._keys, key)
        self.entries.append(key_created(key))

    def update(self, *keys: Key) -> None:
        """Change keys. Ports are unique at every step, so that keys which get another one step aside first."""
        changed = {key.id: key for key in keys}
        pairs = [(was, changed[was.id]) for was in self._keys if was.id in changed]
        moving = [was.id for was, key in pairs if was.port != key.port]
        taken = {key.port for key in (*self._keys, *keys)} if moving else set()
        aside = (port for port in range(_MAX_PORT, 0, -1) if port not in taken)
        for key_id in moving:
            self._connection.execute(_UPDATE_KEY, {"of_id": key_id, "port": next(aside)})
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
        self._keys = tuple(sorted(keys, key=lambda key: (key.created_at, key.id)))

    @property
    def ledger(self) -> SqlLedger:
        """The accounts of traffic."""
        return SqlLedger(self._connection, self._tell_of_gap)

    def add_event(self, event: NewEvent) -> None:
        """Let webhooks be told this too."""
        self.new_events.append(event)

    def _tell_of_gap(self, gap: Gap) -> None:
        if any(key.created_at < gap.until for key in self._keys):  # or nobody misses a byte
            self.add_event(event_of_gap(gap))

    def record(self, entry: Entry) -> None:
        """Let the audit log say this too."""
        self.entries.append(entry)

    def record_taken_back(self, entries: Iterable[Entry], why: str) -> None:
        """Let the audit log say what was taken back."""
        write_records(self._connection, entries, utc_now(), Outcome.TAKEN_BACK, why)

    def put_intents(self, intents: Iterable[Intent]) -> None:
        """Reserve what these keys will have. The table itself keeps two intents apart; keys are asked for here."""
        for intent in intents:
            reserved = asdict(intent)
            self._connection.execute(_INSERT_INTENT, reserved)
            if (other := self._connection.execute(_HOLDER, reserved).scalar()) is not None:
                msg = f"key {other} has the port, UUID or short id of key {intent.key_id}, which is being started"
                raise ValueError(msg)
            self._intents += (intent,)

    def drop_intents(self) -> None:
        """Remove all intents."""
        self._connection.execute(_DROP_INTENTS)
        self._intents = ()

    def put_stops(self, stops: Iterable[Stop]) -> None:
        """Add or change stops."""
        stops = tuple(stops)
        self.drop_stops(stop.key_id for stop in stops)
        for stop in stops:
            self._connection.execute(_INSERT_STOP, asdict(stop))
        self._stops += stops

    def drop_stops(self, key_ids: Iterable[str]) -> None:
        """Remove stops."""
        known = {stop.key_id for stop in self._stops}
        if gone := known.intersection(key_ids):
            self._connection.execute(_DROP_STOP, [{"of_id": key_id} for key_id in gone])
            self._stops = tuple(stop for stop in self._stops if stop.key_id not in gone)

    def put_token(self, token: Token) -> None:
        """Add or change a token."""
        self._connection.execute(delete(tokens_table).where(tokens_table.c.id == token.id))
        self._connection.execute(insert(tokens_table).values(token_row(token)))

    def put_subscription(self, subscription: Subscription) -> None:
        """Give a key a subscription, in place of the one it has."""
        self.delete_subscription(subscription.key_id)
        self._connection.execute(insert(subscriptions).values(asdict(subscription)))

    def delete_subscription(self, key_id: str) -> None:
        """Take a key's subscription away."""
        self._connection.execute(delete(subscriptions).where(subscriptions.c.key_id == key_id))

    def remember(self, answer: Answer) -> None:
        """Remember an answer."""
        self._connection.execute(delete(idempotency).where(idempotency.c.key_hash == answer.key_hash))
        values = {"key_hash": answer.key_hash, "body_hash": answer.body_hash, "answer": answer.answer}
        self._connection.execute(insert(idempotency).values(values | {"created_at": answer.at}))

    def forget(self, before: datetime) -> None:
        """Forget older answers."""
        self._connection.execute(delete(idempotency).where(idempotency.c.created_at < before))
