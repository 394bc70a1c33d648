"""Begins transactions of an SQL database, and implements one that writes."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, RootTransaction, bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import DBAPIError

from vpnkeys.domain.audit import Entry, Outcome, key_created, key_deleted, key_updated
from vpnkeys.domain.change import Intent, KeptAnswer, Stop
from vpnkeys.domain.event import NewEvent, event_of_gap
from vpnkeys.domain.key import ID, Key, Keys
from vpnkeys.domain.limits.near import Notice
from vpnkeys.domain.nodes import LOCAL
from vpnkeys.domain.portpool import MAX_PORT
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import Gap
from vpnkeys.store.sql.audit import utc_now, write_records
from vpnkeys.store.sql.bulk import among
from vpnkeys.store.sql.ledger import SqlLedger
from vpnkeys.store.sql.nodes.book import SqlNodes
from vpnkeys.store.sql.nodes.leases import SqlLeases
from vpnkeys.store.sql.outbox import SqlOutbox
from vpnkeys.store.sql.rows import intent_row, stop_row, subscription_rows, to_row, token_row
from vpnkeys.store.sql.tables import idempotency, limit_notices, subscriptions
from vpnkeys.store.sql.tables import intents as intents_table
from vpnkeys.store.sql.tables import keys as keys_table
from vpnkeys.store.sql.tables import stops as stops_table
from vpnkeys.store.sql.tables import tokens as tokens_table

_INSERT_KEY = insert(keys_table)
_UPDATE_KEY = update(keys_table).where(keys_table.c.id == bindparam("of_id"))
_DELETE_KEY = delete(keys_table).where(keys_table.c.id == bindparam("of_id"))
_INSERT_INTENT = insert(intents_table)
_IS_OWN = (intents_table.c.owner == bindparam("of_owner")) | (intents_table.c.at < bindparam("before"))
_OWN_INTENTS = select(intents_table.c.key_id).where(_IS_OWN)
_DROP_INTENTS = delete(intents_table).where(_IS_OWN).returning(intents_table.c.key_id)
_ABANDONED_AFTER = timedelta(seconds=30)
"""Longer than a start can last: after it, the server that had the intent has ended, and others go on."""
_INSERT_STOP = insert(stops_table)
_IS_STOP = (stops_table.c.key_id == bindparam("of_id")) & (stops_table.c.node_id == bindparam("on_node"))
_DROP_STOP = delete(stops_table).where(_IS_STOP)

# Another key that has something of what an intent reserves.
_HOLDER = (
    select(keys_table.c.id)
    .where(
        or_(
            keys_table.c.uuid == bindparam("uuid"),
            keys_table.c.new_uuid == bindparam("uuid"),
            (keys_table.c.node_id == bindparam("node_id")) & (keys_table.c.port == bindparam("port")),
            keys_table.c.short_id == bindparam("short_id"),
        ),
        keys_table.c.id.not_in(select(intents_table.c.key_id)),
    )
    .limit(1)
)


@contextmanager
def begun(engine: Engine, options: Mapping[str, object]) -> Iterator[Connection]:
    """Return a connection with a transaction, which is committed when the block ends."""
    connection, transaction = _begin(engine, options)
    with connection, transaction:
        yield connection


def _begin(engine: Engine, options: Mapping[str, object], tries: int = 2) -> tuple[Connection, RootTransaction]:
    connection = engine.connect().execution_options(**options)
    try:
        return connection, connection.begin()
    except BaseException as error:
        connection.close()
        # A server that was restarted has closed what lay in the pool; nothing was done yet, and the next is new.
        if tries > 1 and isinstance(error, DBAPIError) and error.connection_invalidated:
            return _begin(engine, options, tries - 1)
        raise


@dataclass(slots=True)
class SqlTransaction:
    """Implements `interfaces.Transaction` on one connection; its keys, intents and stops include its own changes.

    `entries` are the records for the audit log, `new_events` the events besides those that follow from keys, `named`
    the ids of the keys that it has changed.
    """

    connection: Connection
    _keys: Keys
    _intents: tuple[Intent, ...]
    _stops: tuple[Stop, ...]
    outbox: SqlOutbox
    _owner: str = ""
    entries: list[Entry] = field(default_factory=list)
    new_events: list[NewEvent] = field(default_factory=list)
    named: set[str] = field(default_factory=set)

    def keys(self) -> Keys:
        """Return all keys, oldest first."""
        return self._keys

    def intents(self) -> tuple[Intent, ...]:
        """Return the intents of keys that are being started."""
        return self._intents

    def own_intents(self) -> tuple[Intent, ...]:
        """Return those of this server, or of one that must have ended."""
        # Most changes find none, and a statement for nothing costs as much as one that does something.
        own = {*self.connection.scalars(_OWN_INTENTS, self._own())} if self._intents else set()
        return tuple(intent for intent in self._intents if intent.key_id in own)

    def _own(self) -> dict[str, object]:
        return {"of_owner": self._owner, "before": utc_now() - _ABANDONED_AFTER}

    def stops(self) -> tuple[Stop, ...]:
        """Return the stops that are not finished."""
        return self._stops

    def insert(self, *keys: Key) -> None:
        """Add keys, numbered from the newest one on: of several, those of an earlier time come first."""
        # Only one transaction at a time makes keys, so that no other one gives the same numbers.
        first = self._keys[-1].number + 1 if self._keys else 1
        numbered = [replace(key, number=number) for number, key in enumerate(Keys.of(keys), first)]
        for key in numbered:
            self.connection.execute(_INSERT_KEY, {**to_row(key), "number": key.number})
        self._change_keys((), numbered)
        self.entries += map(key_created, numbered)

    def update(self, *keys: Key) -> None:
        """Change keys; they may swap ports.

        Ports must be unique after every statement, not only at the commit. So keys that move first get a spare port.
        """
        changed = {key.id: key for key in keys}
        pairs = [(was, replace(changed[was.id], number=was.number)) for was in self._keys.among(changed)]
        moving = [was for was, key in pairs if (was.node, was.port) != (key.node, key.port)]
        for node_id in {was.node.id for was in moving}:
            here = [was.id for was in moving if was.node.id == node_id]
            self._move_aside(here, {key.port for key in (*self._keys, *keys) if key.node.id == node_id})
        for was, key in pairs:
            if key != was:
                self.connection.execute(_UPDATE_KEY, {"of_id": key.id, **to_row(key)})
                self.entries += key_updated(was, key)
        self._change_keys((), (key for _, key in pairs))

    def _move_aside(self, key_ids: Iterable[str], taken: Collection[int]) -> None:
        """Give keys of a node ports that none of its keys has or gets."""
        spare = (port for port in range(MAX_PORT, 0, -1) if port not in taken)
        for key_id in key_ids:
            self.connection.execute(_UPDATE_KEY, {"of_id": key_id, "port": next(spare)})

    def delete(self, *key_ids: str) -> None:
        """Remove keys."""
        for key_id in key_ids:
            self.connection.execute(_DELETE_KEY, {"of_id": key_id})
            self.entries += map(key_deleted, self._keys.among([key_id]))
        self._change_keys(key_ids, ())

    def _change_keys(self, gone: Iterable[str], come: Iterable[Key]) -> None:
        come = tuple(come)
        self.named |= {*gone, *map(ID, come)}
        self._keys = self._keys.changed(gone, come)

    @property
    def ledger(self) -> SqlLedger:
        """Return the accounts of traffic."""
        return SqlLedger(self.connection, self._tell_of_gap)

    @property
    def nodes(self) -> SqlNodes:
        """Return what is stored of nodes."""
        return SqlNodes(self.connection)

    @property
    def leases(self) -> SqlLeases:
        """Return who of several servers does what."""
        return SqlLeases(self.connection)

    def add_event(self, event: NewEvent) -> None:
        """Notify webhooks of this event too."""
        self.new_events.append(event)

    def _tell_of_gap(self, gap: Gap, node_id: int) -> None:
        # A key that was made later, or lives elsewhere, lost no byte in it.
        if any(key.node.id == node_id and key.created_at < gap.until for key in self._keys):
            self.add_event(event_of_gap(gap))

    def record(self, entry: Entry) -> None:
        """Add this record to the audit log too."""
        self.entries.append(entry)

    def record_taken_back(self, entries: Iterable[Entry], why: str) -> None:
        """Add records of changes that were begun and taken back, with the reason."""
        write_records(self.connection, entries, utc_now(), Outcome.TAKEN_BACK, why)

    def put_intents(self, intents: Iterable[Intent]) -> None:
        """Reserve what these keys will have. Raises ValueError when another key has it already.

        Two intents are kept apart by the table's unique columns; a key and an intent are in two tables, so the query
        here keeps them apart. A key that is being started itself holds what its own intent says, and nothing else:
        when ports are handed out again, each key may get the one that its neighbour leaves.
        """
        intents = tuple(intents)
        for intent in intents:
            self.connection.execute(_INSERT_INTENT, {**intent_row(intent), "owner": self._owner})
        for intent in intents:
            if (other := self.connection.execute(_HOLDER, intent_row(intent)).scalar()) is not None:
                msg = f"key {other} has the port, UUID or short id of key {intent.key_id}, which is being started"
                raise ValueError(msg)
        self._intents += intents

    def drop_intents(self) -> None:
        """Remove the intents of `own_intents`."""
        gone = {*self.connection.scalars(_DROP_INTENTS, self._own())} if self._intents else set()
        self._intents = tuple(intent for intent in self._intents if intent.key_id not in gone)

    def put_stops(self, stops: Iterable[Stop]) -> None:
        """Add stops, or replace those of the same keys and nodes; of several such, store the last."""
        stops = tuple({(stop.key_id, stop.node_id): stop for stop in stops}.values())
        for node_id in {stop.node_id for stop in stops}:
            self.drop_stops([stop.key_id for stop in stops if stop.node_id == node_id], node_id)
        for stop in stops:
            self.connection.execute(_INSERT_STOP, stop_row(stop))
        self._stops += stops

    def drop_stops(self, key_ids: Iterable[str], node_id: int = LOCAL.id) -> None:
        """Remove the stops that a node has of these keys."""
        # Most changes have none to remove, and a statement for nothing costs as much as one that does something.
        known = {stop.key_id for stop in self._stops if stop.node_id == node_id}
        if gone := known.intersection(key_ids):
            self.connection.execute(_DROP_STOP, [{"of_id": key_id, "on_node": node_id} for key_id in gone])
            self._stops = tuple(stop for stop in self._stops if stop.node_id != node_id or stop.key_id not in gone)

    def notices(self, key_ids: Collection[str]) -> Mapping[str, Notice]:
        """Return what is stored of these keys by `put_notices`, by id."""
        chosen = select(limit_notices).where(among(limit_notices.c.key_id, key_ids))
        return {key_id: Notice(*rest) for key_id, *rest in self.connection.execute(chosen) if key_id in key_ids}

    def put_notices(self, notices: Mapping[str, Notice]) -> None:
        """Store how near keys are to their traffic limits, by id, as webhooks have been notified."""
        rows = [{"key_id": key_id, **notice._asdict()} for key_id, notice in notices.items()]
        if rows:
            self.connection.execute(delete(limit_notices).where(limit_notices.c.key_id.in_(notices)))
            self.connection.execute(insert(limit_notices), rows)

    def put_token(self, token: Token) -> None:
        """Add a token, or replace the one with its id."""
        # Nothing refers to a token's row, so it can be deleted and added again, whether it was there or not.
        self.connection.execute(delete(tokens_table).where(tokens_table.c.id == token.id))
        self.connection.execute(insert(tokens_table).values(token_row(token)))

    def put_subscription(self, subscription: Subscription) -> None:
        """Add a subscription, or replace the one with its id."""
        self.delete_subscription(subscription.id)
        self.connection.execute(insert(subscriptions), subscription_rows(subscription))

    def delete_subscription(self, subscription_id: str) -> None:
        """Delete a subscription, if there is one with this id."""
        self.connection.execute(delete(subscriptions).where(subscriptions.c.id == subscription_id))

    def remember(self, answer: KeptAnswer) -> None:
        """Store an answer, in place of an expired one with the same hash."""
        self.connection.execute(delete(idempotency).where(idempotency.c.key_hash == answer.key_hash))
        values = {"key_hash": answer.key_hash, "body_hash": answer.body_hash, "answer": answer.answer}
        self.connection.execute(insert(idempotency).values(values | {"created_at": answer.at}))

    def forget(self, before: datetime) -> None:
        """Delete answers that were stored before then."""
        self.connection.execute(delete(idempotency).where(idempotency.c.created_at < before))
