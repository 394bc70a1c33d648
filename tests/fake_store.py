"""A Store in memory that keeps the promises of `vpnkeys.interfaces`, and can be told to break down."""

import copy
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tests.fake_outbox import FakeOutbox
from tests.fakes import Steps
from vpnkeys.domain.actor import SERVER, current_actor
from vpnkeys.domain.audit import Entry, Outcome, Record, key_changed, key_created, key_deleted, key_moved
from vpnkeys.domain.errors import StoreUnavailable, VpnKeysError
from vpnkeys.domain.event import News, news_of_gap, news_of_keys
from vpnkeys.domain.key import Key
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import NOTHING, Bytes, Gap, Point, Samples, Tally, Total, Traffic, increments, merge
from vpnkeys.domain.webhook import Delivery, Webhook


@dataclass(slots=True)
class Life:
    """What is remembered of one life of Xray."""

    last_sample_at: datetime
    ended_at: datetime | None = None
    cleanly: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """What a key has used besides what is counted here, and when it was last reset and seen."""

    base_bytes: int = 0
    offset_bytes: int = 0
    reset_hour: datetime | None = None
    reset_hour_bytes: int = 0
    last_seen_at: datetime | None = None


@dataclass(slots=True)
class Tables:
    """What a transaction sees."""

    keys: dict[str, Key] = field(default_factory=dict)
    usage: dict[tuple[str, str], Bytes] = field(default_factory=dict)
    hours: dict[tuple[str, datetime], Bytes] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    lives: dict[str, Life] = field(default_factory=dict)
    answers: dict[str, tuple[str, str, datetime]] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    outbox: FakeOutbox = field(default_factory=FakeOutbox)


@dataclass(slots=True)
class Memory:
    """The "disk" under FakeStores: two of them on one Memory are two processes on one database."""

    tables: Tables = field(default_factory=Tables)
    lock: threading.Lock = field(default_factory=threading.Lock)
    answering: bool = True


@dataclass(slots=True)
class FakeLedger:
    """The accounts of traffic, naively."""

    tables: Tables
    on_gap: Callable[[Gap], None] = lambda _gap: None

    def merge(self, samples: Samples, at: datetime) -> None:
        """Keep the highest counters, and in which hour they rose."""
        known = {key.uuid for key in self.tables.keys.values()}
        sampled = {uuid: counters for uuid, counters in samples.usage.items() if uuid in known}
        added = increments(self._seen(samples.epoch), sampled)
        self._note(samples.epoch, at, grew=bool(added))
        for uuid, counters in sampled.items():
            place = (uuid, samples.epoch)
            self.tables.usage[place] = merge(self.tables.usage.get(place, NOTHING), counters)
        for uuid, more in added.items():
            self._add_to_hour(uuid, _hour_of(at), more)
            self.tables.accounts[uuid] = replace(self._account(uuid), last_seen_at=at)

    def end_epoch(self, epoch: str, at: datetime) -> None:
        """Ended by us."""
        if epoch in self.tables.lives:
            self.tables.lives[epoch].ended_at, self.tables.lives[epoch].cleanly = at, True

    def traffic(self, uuid: str) -> Traffic:
        """Imported and counted, less what was reset away."""
        account = self._account(uuid)
        total = account.base_bytes + self._counted(uuid) - account.offset_bytes
        return Traffic(total, self._gaps(uuid), account.last_seen_at)

    def totals(self) -> dict[str, Total]:
        """Of all that have an account."""
        totals = {uuid: self.traffic(uuid) for uuid in self.tables.accounts}
        return {uuid: Total(traffic.total_bytes, traffic.last_seen_at) for uuid, traffic in totals.items()}

    def tally(self) -> Tally:
        """Over all lives."""
        sums: dict[str, Bytes] = {}
        for (uuid, _), used in self.tables.usage.items():
            before = sums.get(uuid, NOTHING)
            sums[uuid] = Bytes(before.up + used.up, before.down + used.down)
        lives = self.tables.lives.values()
        gaps = sum(life.ended_at is not None and not life.cleanly for life in lives)
        return Tally(sums, gaps, max((life.last_sample_at for life in lives), default=None))

    def history(self, uuid: str | None, since: datetime, until: datetime) -> tuple[Point, ...]:
        """The hours, in order."""
        places = {place for place in self.tables.hours if uuid in {None, place[0]}}
        hours = sorted({hour for _, hour in places if _hour_of(since) <= hour < until})
        used = {hour: [self.tables.hours[place] for place in places if place[1] == hour] for hour in hours}
        return tuple(
            Point(hour, Bytes(sum(b.up for b in used[hour]), sum(b.down for b in used[hour]))) for hour in hours
        )

    def fold_into_days(self, before: datetime) -> None:
        """Old hours go to midnight."""
        for (uuid, hour), used in list(self.tables.hours.items()):
            if hour < before:
                del self.tables.hours[uuid, hour]
                self._add_to_hour(uuid, hour.replace(hour=0), used)

    def reset(self, uuid: str, at: datetime) -> None:
        """From here on."""
        account, hour = self._account(uuid), _hour_of(at)
        self.tables.accounts[uuid] = replace(
            account,
            offset_bytes=account.base_bytes + self._counted(uuid),
            reset_hour=hour,
            reset_hour_bytes=self.tables.hours.get((uuid, hour), NOTHING).total,
        )

    def used_bytes(self, uuid: str, since: datetime | None) -> int:
        """By hour, from the beginning or the reset."""
        if since is None:
            return self.traffic(uuid).total_bytes
        account, begin, before = self._account(uuid), since, 0
        if account.reset_hour is not None and account.reset_hour >= since:
            begin, before = account.reset_hour, account.reset_hour_bytes
        hours = self.tables.hours.items()
        return sum(used.total for (owner, hour), used in hours if owner == uuid and hour >= begin) - before

    def open_account(self, uuid: str, base_bytes: int) -> None:
        """Counted elsewhere."""
        self.tables.accounts[uuid] = Account(base_bytes)

    def _note(self, epoch: str, at: datetime, *, grew: bool) -> None:
        """Another life that had not ended has crashed, unless it was seen later; one ended by us lives if it counts."""
        lives = self.tables.lives
        life = lives.get(epoch)
        if life is not None and life.ended_at is not None and (at <= life.ended_at or (life.cleanly and not grew)):
            life.last_sample_at = max(life.last_sample_at, at)
            return
        for other in lives.values():
            if other is not life and other.ended_at is None and (life is None or other.last_sample_at < at):
                other.ended_at, other.cleanly = at, False
                self.on_gap(Gap(other.last_sample_at, at))
        lives[epoch] = Life(at)

    def _seen(self, epoch: str) -> dict[str, Bytes]:
        return {uuid: used for (uuid, life), used in self.tables.usage.items() if life == epoch}

    def _add_to_hour(self, uuid: str, hour: datetime, more: Bytes) -> None:
        before = self.tables.hours.get((uuid, hour), NOTHING)
        self.tables.hours[uuid, hour] = Bytes(before.up + more.up, before.down + more.down)

    def _account(self, uuid: str) -> Account:
        return self.tables.accounts.get(uuid, Account())

    def _gaps(self, uuid: str) -> tuple[Gap, ...]:
        """Lives that ended unasked while the key was there."""
        born = next((key.created_at for key in self.tables.keys.values() if key.uuid == uuid), datetime.max)  # noqa: DTZ901
        ends = [(life.last_sample_at, life.ended_at) for life in self.tables.lives.values() if not life.cleanly]
        gaps = [Gap(since, until) for since, until in ends if until is not None and until > born]
        return tuple(sorted(gaps, key=lambda gap: gap.until))

    def _counted(self, uuid: str) -> int:
        return sum(used.total for (owner, _), used in self.tables.usage.items() if owner == uuid)


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


@dataclass(slots=True)
class FakeTransaction:
    """A write transaction on a copy, which takes the place of the original in the end."""

    tables: Tables
    entries: list[Entry] = field(default_factory=list)
    news: list[News] = field(default_factory=list)

    def keys(self) -> tuple[Key, ...]:
        """Oldest first."""
        return tuple(sorted(self.tables.keys.values(), key=lambda key: (key.created_at, key.id)))

    def insert(self, key: Key) -> None:
        """Add a key. Raises ValueError when it is not new in every respect."""
        for other in self.tables.keys.values():
            if {key.id, key.uuid, key.port, key.short_id} & {other.id, other.uuid, other.port, other.short_id}:
                raise ValueError(f"not new: {key}")
        self.tables.keys[key.id] = key
        self.entries.append(key_created(key))

    def update(self, key: Key) -> None:
        """Change a key that is there. Raises ValueError when something changes that stays."""
        before = self.tables.keys.get(key.id)
        if before is not None:
            if (before.uuid, before.port) != (key.uuid, key.port):
                raise ValueError(f"not the same key: {key}")
            self.tables.keys[key.id] = key
            if key != before:
                self.entries.append(key_changed(before, key))

    def delete(self, key_id: str) -> None:
        """Remove a key and what it used."""
        gone = self.tables.keys.pop(key_id, None)
        if gone is not None:
            self.entries.append(key_deleted(gone))
            self.delete_subscription(key_id)
            self.tables.accounts.pop(gone.uuid, None)
            self.tables.usage = {place: used for place, used in self.tables.usage.items() if place[0] != gone.uuid}
            self.tables.hours = {place: used for place, used in self.tables.hours.items() if place[0] != gone.uuid}

    def move(self, ports: Mapping[str, int], at: datetime) -> None:
        """Give keys other ports. Raises ValueError when two would have the same."""
        self.entries += [key_moved(key, ports[key.id]) for key in self.keys() if key.id in ports]
        moved = {
            key_id: replace(self.tables.keys[key_id], port=port, port_assigned_at=at) for key_id, port in ports.items()
        }
        self.tables.keys |= moved
        if len({key.port for key in self.tables.keys.values()}) != len(self.tables.keys):
            raise ValueError(f"two keys on one port: {ports}")

    @property
    def ledger(self) -> FakeLedger:
        """The accounts."""
        return FakeLedger(self.tables, self._tell_of_gap)

    @property
    def outbox(self) -> FakeOutbox:
        """The webhooks."""
        return self.tables.outbox

    def tell(self, news: News) -> None:
        """One more for webhooks."""
        self.news.append(news)

    def _tell_of_gap(self, gap: Gap) -> None:
        if any(key.created_at < gap.until for key in self.tables.keys.values()):
            self.tell(news_of_gap(gap))

    def record(self, entry: Entry) -> None:
        """One more for the log."""
        self.entries.append(entry)

    def put_token(self, token: Token) -> None:
        """Add or change a token."""
        self.tables.tokens[token.id] = token

    def put_subscription(self, subscription: Subscription) -> None:
        """One a key."""
        self.tables.subscriptions[subscription.key_id] = subscription

    def delete_subscription(self, key_id: str) -> None:
        """If there is one."""
        self.tables.subscriptions.pop(key_id, None)

    def remembered(self, key_hash: str, since: datetime) -> tuple[str, str] | None:
        """What was answered."""
        body, answer, at = self.tables.answers.get(key_hash, ("", "", datetime.min))  # noqa: DTZ901 - likewise
        return (body, answer) if answer and at >= since else None

    def remember(self, key_hash: str, body_hash: str, answer: str, at: datetime) -> None:
        """Keep an answer."""
        self.tables.answers[key_hash] = (body_hash, answer, at)

    def forget(self, before: datetime) -> None:
        """Drop older answers."""
        self.tables.answers = {name: kept for name, kept in self.tables.answers.items() if kept[2] >= before}


@dataclass(slots=True)
class FakeStore:
    """A Store in memory. A commit is two steps: the service may die before it and just after it."""

    memory: Memory = field(default_factory=Memory)
    steps: Steps = field(default_factory=Steps)
    busy_timeout_s: float = 5.0

    def keys(self) -> tuple[Key, ...]:
        """All keys as last committed."""
        self._answer()
        return FakeTransaction(self.memory.tables).keys()

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

    def used_bytes(self, uuid: str, since: datetime | None) -> int:
        """As last committed."""
        self._answer()
        return FakeLedger(self.memory.tables).used_bytes(uuid, since)

    def audit(self, limit: int, before_id: int | None = None, subject: str | None = None) -> tuple[Record, ...]:
        """Newest first."""
        self._answer()
        wanted = [
            record
            for record in reversed(self.memory.tables.records)
            if (before_id is None or record.id < before_id) and subject in {None, record.entry.subject}
        ]
        return tuple(wanted[:limit])

    def record(self, entry: Entry, outcome: Outcome, detail: str = "") -> None:
        """By itself."""
        self._answer()
        _log(self.memory.tables, [entry], outcome, detail)

    @contextmanager
    def write(self) -> Iterator[FakeTransaction]:
        """Work on a copy; the copy becomes the truth when the block ends well."""
        self._answer()
        if not self.memory.lock.acquire(timeout=self.busy_timeout_s):
            raise StoreUnavailable("somebody else writes")
        try:
            transaction = FakeTransaction(copy.deepcopy(self.memory.tables))
            try:
                yield transaction
            except VpnKeysError as error:
                if current_actor() != SERVER and not isinstance(error, StoreUnavailable):
                    _log(self.memory.tables, transaction.entries, Outcome.TAKEN_BACK, str(error))
                raise
            self._answer()
            _log(transaction.tables, transaction.entries, Outcome.DONE)
            news = [*transaction.news, *news_of_keys(FakeTransaction(self.memory.tables).keys(), transaction.keys())]
            transaction.outbox.tell(news, datetime.now(UTC).replace(tzinfo=None))
            self.steps.step()
            self.memory.tables = transaction.tables
            self.steps.step()
        finally:
            self.memory.lock.release()

    def close(self) -> None:
        """Nothing to let go of."""

    def _answer(self) -> None:
        if not self.memory.answering:
            raise StoreUnavailable("the database does not answer")


def _log(tables: Tables, entries: Iterable[Entry], outcome: Outcome, detail: str = "") -> None:
    for entry in entries:
        at = datetime.now(UTC).replace(tzinfo=None)
        tables.records.append(Record(len(tables.records) + 1, at, current_actor(), entry, outcome, detail))
