"""A Store in memory that keeps the promises of `vpnkeys.interfaces`, and can be told to break down."""

import copy
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tests.fake_ledger import FakeLedger, Tables
from tests.fake_nodes import FakeLeases, FakeNodes
from tests.fake_outbox import FakeOutbox
from tests.fakes import Steps
from vpnkeys.domain.actor import current_actor
from vpnkeys.domain.audit import EVERYTHING, Entry, Filter, Outcome, Record, key_created, key_deleted, key_updated
from vpnkeys.domain.change import Intent, KeptAnswer, Stop
from vpnkeys.domain.errors import CommitUnknown, StoreUnavailable
from vpnkeys.domain.event import NewEvent, event_of_gap, events_of_keys
from vpnkeys.domain.key import Key, spelled
from vpnkeys.domain.limits.near import Notice
from vpnkeys.domain.nodes import LOCAL, NodeRecord, Sighting
from vpnkeys.domain.nodes.door import Door
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import NOTHING, Bytes, EpochSample, Gap, Point, Samples, Tally, Total, Traffic
from vpnkeys.domain.webhook import Delivery, Webhook
from vpnkeys.interfaces import PATIENCE_S, ForNodes


@dataclass(slots=True)
class Memory:
    """The "disk" under FakeStores: two of them on one Memory are two processes on one database."""

    tables: Tables = field(default_factory=Tables)
    lock: threading.Lock = field(default_factory=threading.Lock)
    answering: bool = True
    is_full: bool = False


@dataclass(slots=True)
class FakeTransaction:
    """A write transaction on a copy, which takes the place of the original in the end."""

    tables: Tables
    entries: list[Entry] = field(default_factory=list)
    new_events: list[NewEvent] = field(default_factory=list)

    def keys(self) -> tuple[Key, ...]:
        """Oldest first."""
        return tuple(sorted(self.tables.keys.values(), key=lambda key: key.number))

    def insert(self, *keys: Key) -> None:
        """Add keys. Raises ValueError when one is not new in every respect."""
        for key in sorted(keys, key=lambda key: (key.created_at, key.id)):
            self._insert(replace(key, number=max((one.number for one in self.tables.keys.values()), default=0) + 1))

    def _insert(self, key: Key) -> None:
        for other in self.tables.keys.values():
            taken = {other.id, other.uuid, other.account, (other.node.id, other.port), other.short_id}
            if {key.id, key.uuid, key.account, (key.node.id, key.port), key.short_id} & taken:
                raise ValueError(f"not new: {key}")
        self.tables.keys[key.id] = key
        self.tables.revision += 1
        self.entries.append(key_created(key))

    def update(self, *keys: Key) -> None:
        """Change keys that are there. Raises ValueError when an account changes, or two would have one port."""
        there = {key.id: key for key in keys if key.id in self.tables.keys}
        for key in there.values():
            before = self.tables.keys[key.id]
            if before.account != key.account:
                raise ValueError(f"not the same key: {key}")
            self.entries += key_updated(before, key)
        self.tables.keys |= {key.id: replace(key, number=self.tables.keys[key.id].number) for key in there.values()}
        self.tables.revision += len(there)
        if len({(key.node.id, key.port) for key in self.tables.keys.values()}) != len(self.tables.keys):
            raise ValueError(f"two keys on one port: {keys}")

    def delete(self, *key_ids: str) -> None:
        """Remove keys and what they used."""
        for key_id in key_ids:
            self._delete(key_id)

    def _delete(self, key_id: str) -> None:
        gone = self.tables.keys.pop(key_id, None)
        if gone is not None:
            self.tables.revision += 1
            self.entries.append(key_deleted(gone))
            for one in [one for one in self.tables.subscriptions.values() if key_id in one.key_ids]:
                self._leave(one, key_id)
            self.tables.notices.pop(key_id, None)
            self.tables.accounts.pop(gone.uuid, None)
            self.tables.usage = {place: used for place, used in self.tables.usage.items() if place[0] != gone.uuid}
            self.tables.hours = {place: used for place, used in self.tables.hours.items() if place[0] != gone.uuid}

    @property
    def ledger(self) -> FakeLedger:
        """The accounts."""
        return FakeLedger(self.tables, self._tell_of_gap)

    @property
    def nodes(self) -> FakeNodes:
        """The nodes."""
        return FakeNodes(self.tables)

    @property
    def leases(self) -> FakeLeases:
        """Who does what."""
        return FakeLeases(self.tables)

    @property
    def outbox(self) -> FakeOutbox:
        """The webhooks."""
        return self.tables.outbox

    def add_event(self, event: NewEvent) -> None:
        """One more for webhooks."""
        self.new_events.append(event)

    def _tell_of_gap(self, gap: Gap, node_id: int) -> None:
        if any(key.node.id == node_id and key.created_at < gap.until for key in self.tables.keys.values()):
            self.add_event(event_of_gap(gap))

    def record(self, entry: Entry) -> None:
        """One more for the log."""
        self.entries.append(entry)

    def notices(self, key_ids: Collection[str]) -> Mapping[str, Notice]:
        """Of these keys."""
        return {key_id: notice for key_id, notice in self.tables.notices.items() if key_id in key_ids}

    def put_notices(self, notices: Mapping[str, Notice]) -> None:
        """One a key."""
        self.tables.notices |= notices

    def put_token(self, token: Token) -> None:
        """Add or change a token."""
        self.tables.tokens[token.id] = token

    def put_subscription(self, subscription: Subscription) -> None:
        """One by each id."""
        self.tables.subscriptions[subscription.id] = subscription

    def delete_subscription(self, subscription_id: str) -> None:
        """If there is one."""
        self.tables.subscriptions.pop(subscription_id, None)

    def _leave(self, subscription: Subscription, key_id: str) -> None:
        left = tuple(one for one in subscription.key_ids if one != key_id)
        self.delete_subscription(subscription.id)
        if left:
            self.put_subscription(replace(subscription, key_ids=left))

    def record_taken_back(self, entries: Iterable[Entry], why: str) -> None:
        """At once."""
        _log(self.tables, entries, Outcome.TAKEN_BACK, why)

    def intents(self) -> tuple[Intent, ...]:
        """In any order."""
        return tuple(self.tables.intents.values())

    def own_intents(self) -> tuple[Intent, ...]:
        """All: nobody else has any."""
        return self.intents()

    def put_intents(self, intents: Iterable[Intent]) -> None:
        """Reserve. Raises ValueError when something is another's."""
        intents = tuple(intents)
        starting = {intent.key_id for intent in (*self.intents(), *intents)}
        for intent in intents:
            keys = [key for key in self.tables.keys.values() if key.id not in starting]
            held: set[object] = {value for key in keys for value in (key.uuid, key.account, key.short_id)}
            held |= {(key.node.id, key.port) for key in keys}
            for one in self.intents():
                held |= {one.key_id, one.uuid, (one.node_id, one.port), one.short_id}
            if held & {intent.key_id, intent.uuid, (intent.node_id, intent.port), intent.short_id}:
                raise ValueError(f"not free: {intent}")
            self.tables.intents[intent.key_id] = intent

    def drop_intents(self) -> None:
        """All."""
        self.tables.intents = {}

    def put_stops(self, stops: Iterable[Stop]) -> None:
        """One a key and node."""
        more = {(stop.key_id, stop.node_id): stop for stop in stops}
        self.tables.stops |= more
        self.tables.revision += len(more)

    def stops(self) -> tuple[Stop, ...]:
        """In any order."""
        return tuple(self.tables.stops.values())

    def drop_stops(self, key_ids: Iterable[str], node_id: int = LOCAL.id) -> None:
        """If there are any."""
        for key_id in key_ids:
            if self.tables.stops.pop((key_id, node_id), None) is not None:
                self.tables.revision += 1

    def remember(self, answer: KeptAnswer) -> None:
        """Keep an answer."""
        self.tables.answers[answer.key_hash] = answer

    def forget(self, before: datetime) -> None:
        """Drop older answers."""
        self.tables.answers = {name: kept for name, kept in self.tables.answers.items() if kept.at >= before}


@dataclass(slots=True)
class FakeStore:
    """A Store in memory. A commit is two steps: the service may die before it and just after it."""

    memory: Memory = field(default_factory=Memory)
    steps: Steps = field(default_factory=Steps)
    busy_timeout_s: float = 5.0
    is_remote: bool = False
    refused: str = ""
    loses_commit: str = ""
    """The connection is lost `before` or `after` the commit takes effect; the writer cannot tell which."""

    def may_wait(self) -> bool:
        """Memory keeps nobody waiting."""
        return True

    def look(self) -> None:
        """Nothing is kept, so that nothing has to be looked at."""
        self._answer()

    def last_known(self) -> tuple[tuple[Key, ...], tuple[Intent, ...], tuple[Stop, ...]]:
        """What is committed: nobody else writes, so that this is known while a database elsewhere is silent."""
        if not self.is_remote:
            self._answer()
        tables = self.memory.tables
        return FakeTransaction(tables).keys(), tuple(tables.intents.values()), tuple(tables.stops.values())

    def refusal(self) -> str:
        """What the test says."""
        return self.refused

    def try_out(self, answer: KeptAnswer) -> None:
        """A write like others."""
        with self.write() as transaction:
            transaction.remember(answer)
        self.refused = ""

    def keys(self) -> tuple[Key, ...]:
        """All keys as last committed."""
        self._answer()
        return FakeTransaction(self.memory.tables).keys()

    def intents(self) -> tuple[Intent, ...]:
        """As last committed."""
        self._answer()
        return tuple(self.memory.tables.intents.values())

    def stops(self) -> tuple[Stop, ...]:
        """As last committed."""
        self._answer()
        return tuple(self.memory.tables.stops.values())

    def nodes(self) -> tuple[NodeRecord, ...]:
        """As last committed."""
        self._answer()
        return tuple(self.memory.tables.nodes)

    def doors(self) -> tuple[Door, ...]:
        """As last committed."""
        self._answer()
        return tuple(sorted(self.memory.tables.doors.values(), key=lambda door: door.port))

    def knows_join(self, digest: str) -> bool:
        """As last committed."""
        self._answer()
        return digest in self.memory.tables.joins

    def for_nodes(self) -> ForNodes:
        """As last committed."""
        self._answer()
        tables = self.memory.tables
        keys = FakeTransaction(tables).keys()
        return ForNodes(tables.revision, keys, tuple(tables.stops.values()), tuple(tables.placing.values()))

    def sightings(self, node_id: int | None = None) -> Mapping[int, Sighting]:
        """As last committed."""
        self._answer()
        return {one: seen for one, seen in self.memory.tables.sightings.items() if node_id in {None, one}}

    def online(self, since: datetime, until: datetime) -> Mapping[str, int]:
        """As last committed."""
        self._answer()
        tables = self.memory.tables
        heard = [node_id for node_id, seen in tables.sightings.items() if since < seen.at < until]
        return {one: devices for node_id in heard for one, devices in tables.online[node_id].items()}

    def revision(self) -> int:
        """As last committed."""
        self._answer()
        return self.memory.tables.revision

    def answered(self, key_hash: str, since: datetime) -> KeptAnswer | None:
        """As last committed."""
        self._answer()
        known = self.memory.tables.answers.get(key_hash)
        return known if known is not None and known.at >= since else None

    def traffic(self, uuid: str) -> Traffic:
        """What a key has used, as last committed."""
        self._answer()
        return FakeLedger(self.memory.tables).traffic(uuid)

    def traffic_of(self, uuids: Collection[str]) -> Mapping[str, Traffic]:
        """What several keys have used, as last committed."""
        return {uuid: self.traffic(uuid) for uuid in uuids}

    def totals(self) -> Mapping[str, Total]:
        """What all keys have used, as last committed."""
        self._answer()
        return FakeLedger(self.memory.tables).totals()

    def tally(self) -> Tally:
        """All that was counted, as last committed."""
        self._answer()
        return FakeLedger(self.memory.tables).tally()

    def counted_by_key(self) -> Mapping[str, Bytes]:
        """As last committed."""
        self._answer()
        return FakeLedger(self.memory.tables).counted_by_key()

    def counted_by_node(self) -> Mapping[int, Bytes]:
        """As last committed."""
        self._answer()
        return FakeLedger(self.memory.tables).counted_by_node()

    def lives(self, node_id: int = LOCAL.id) -> tuple[EpochSample, ...]:
        """As last committed."""
        self._answer()
        tables = self.memory.tables
        found = []
        for name, life in tables.lives.items():
            usage = {uuid: used for (uuid, place), used in tables.usage.items() if place == name}
            if name[0] == node_id:
                found.append(EpochSample(Samples(name[1], usage, node_id), life.last_sample_at, has_ended=life.cleanly))
        return tuple(found)

    def history(self, uuid: str | None, since: datetime, until: datetime) -> tuple[Point, ...]:
        """What a key has used by hour, as last committed."""
        self._answer()
        return FakeLedger(self.memory.tables).history(uuid, since, until)

    def tokens(self) -> tuple[Token, ...]:
        """Oldest first."""
        self._answer()
        return tuple(sorted(self.memory.tables.tokens.values(), key=lambda token: (token.created_at, token.id)))

    def subscriptions(self) -> Mapping[str, Subscription]:
        """By hash."""
        self._answer()
        return {one.token_hash: one for one in self.memory.tables.subscriptions.values()}

    def webhooks(self) -> tuple[Webhook, ...]:
        """Oldest first."""
        self._answer()
        return self.memory.tables.outbox.webhooks()

    def unsettled(self, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
        """Oldest first."""
        self._answer()
        return self.memory.tables.outbox.unsettled(webhook_id)[:limit]

    def deliveries(self, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
        """Newest first."""
        self._answer()
        return self.memory.tables.outbox.deliveries(webhook_id)[:limit]

    def notices(self) -> Mapping[str, Notice]:
        """As last committed."""
        self._answer()
        return self.memory.tables.notices

    def counted(self, epoch: str, uuid: str, node_id: int = LOCAL.id) -> Bytes:
        """As last committed."""
        self._answer()
        return self.memory.tables.usage.get((uuid, (node_id, epoch)), NOTHING)

    def used_bytes(self, since: Mapping[str, datetime | None], fresh: Iterable[Samples] = ()) -> Mapping[str, int]:
        """As last committed, and as if these were committed too."""
        self._answer()
        tables = copy.deepcopy(self.memory.tables)
        for samples in fresh:
            FakeLedger(tables).merge(samples, datetime.max)  # noqa: DTZ901 - in no hour that was reset
        return FakeLedger(tables).used_bytes(since)

    def audit(
        self, limit: int, before_id: int | None = None, subject: str | None = None, chosen: Filter = EVERYTHING
    ) -> tuple[Record, ...]:
        """Newest first."""
        self._answer()
        wanted = [
            record
            for record in reversed(self.memory.tables.records)
            if (before_id is None or record.id < before_id)
            and (subject is None or record.entry.subject in spelled(subject))
            and _is_chosen(record, chosen)
        ]
        return tuple(wanted[:limit])

    def record(self, entry: Entry, outcome: Outcome, detail: str = "") -> None:
        """By itself."""
        self._answer()
        _log(self.memory.tables, [entry], outcome, detail)

    @contextmanager
    def write(self, *, durable: bool = True, patience_s: float = PATIENCE_S) -> Iterator[FakeTransaction]:
        """Work on a copy; the copy becomes the truth when the block ends well."""
        self._answer()
        if not self.memory.lock.acquire(timeout=min(self.busy_timeout_s, patience_s)):
            raise StoreUnavailable("somebody else writes")
        try:
            transaction = FakeTransaction(copy.deepcopy(self.memory.tables))
            yield transaction
            self._answer()
            if self.memory.is_full:
                raise StoreUnavailable("the disk is full")
            _log(transaction.tables, transaction.entries, Outcome.DONE)
            events = [
                *transaction.new_events,
                *events_of_keys(FakeTransaction(self.memory.tables).keys(), transaction.keys()),
            ]
            transaction.outbox.add_events(events, datetime.now(UTC).replace(tzinfo=None))
            self.steps.step()
            lost, self.loses_commit = self.loses_commit, ""
            if lost == "before":
                raise CommitUnknown("the connection was lost")
            self.memory.tables = transaction.tables
            if lost:
                raise CommitUnknown("the connection was lost")
            self.steps.step()
        finally:
            self.memory.lock.release()

    def close(self) -> None:
        """Nothing to let go of."""

    def _answer(self) -> None:
        if not self.memory.answering:
            raise StoreUnavailable("the database does not answer")


def _is_chosen(record: Record, chosen: Filter) -> bool:
    action = record.entry.action
    return (
        chosen.action in {"", action, action.partition(".")[0]}
        and chosen.actor.lower() in record.actor.name.lower()
        and chosen.outcome in {None, record.outcome}
    )


def _log(tables: Tables, entries: Iterable[Entry], outcome: Outcome, detail: str = "") -> None:
    for entry in entries:
        at = datetime.now(UTC).replace(tzinfo=None)
        tables.records.append(Record(len(tables.records) + 1, at, current_actor(), entry, outcome, detail))
