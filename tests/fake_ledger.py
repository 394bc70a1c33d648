"""The accounts of traffic in memory, counted naively, and the tables that they share with a FakeStore."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from tests.fake_outbox import FakeOutbox
from vpnkeys.domain.audit import Record
from vpnkeys.domain.change import Intent, KeptAnswer, Stop
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits.near import Notice
from vpnkeys.domain.making.placing import Placing
from vpnkeys.domain.nodes import LOCAL, Join, NodeRecord, Sighting
from vpnkeys.domain.nodes.door import Door
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Token
from vpnkeys.domain.traffic import (
    NOTHING,
    Bytes,
    Gap,
    Point,
    Samples,
    Tally,
    Total,
    Traffic,
    gaps_of,
    increments,
    merge,
    sum_of,
)
from vpnkeys.interfaces import Holder

T = TypeVar("T")
LifeName = tuple[int, str]
"""The id of a node, and an epoch of its Xray."""


@dataclass(slots=True)
class Life:
    """What is remembered of one life of Xray."""

    last_sample_at: datetime
    ended_at: datetime | None = None
    cleanly: bool = False
    carried: Bytes = NOTHING


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
    revision: int = 0
    last_node: int = LOCAL.id
    nodes: list[NodeRecord] = field(default_factory=lambda: [NodeRecord(LOCAL, "default", 1, None)])
    doors: dict[str, Door] = field(default_factory=dict)
    joins: dict[str, Join] = field(default_factory=dict)
    sightings: dict[int, Sighting] = field(default_factory=dict)
    online: dict[int, Mapping[str, int]] = field(default_factory=dict)
    usage: dict[tuple[str, LifeName], Bytes] = field(default_factory=dict)
    hours: dict[tuple[str, datetime], Bytes] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    lives: dict[LifeName, Life] = field(default_factory=dict)
    answers: dict[str, KeptAnswer] = field(default_factory=dict)
    intents: dict[str, Intent] = field(default_factory=dict)
    stops: dict[tuple[str, int], Stop] = field(default_factory=dict)
    placing: dict[str, Placing] = field(default_factory=dict)
    leases: dict[str, Holder] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    notices: dict[str, Notice] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    outbox: FakeOutbox = field(default_factory=FakeOutbox)


@dataclass(slots=True)
class FakeLedger:
    """The accounts of traffic, naively."""

    tables: Tables
    on_gap: Callable[[Gap, int], None] = lambda _gap, _node_id: None

    def merge(self, samples: Samples, at: datetime) -> dict[str, Bytes]:
        """Keep the highest counters, and in which hour they rose."""
        known = {key.account for key in self.tables.keys.values()}
        sampled = {uuid: counters for uuid, counters in samples.usage.items() if uuid in known}
        life = samples.node_id, samples.epoch
        added = increments(self._seen(life), sampled)
        self._note(life, at, sum_of(added.values()))
        for uuid, counters in sampled.items():
            place = (uuid, life)
            self.tables.usage[place] = merge(self.tables.usage.get(place, NOTHING), counters)
        for uuid, more in added.items():
            self._add_to_hour(uuid, _hour_of(at), more)
            self.tables.accounts[uuid] = replace(self._account(uuid), last_seen_at=at)
        return added

    def end_epoch(self, epoch: str, at: datetime, node_id: int = LOCAL.id) -> None:
        """Ended by us."""
        life = self.tables.lives.get((node_id, epoch))
        if life is not None:
            life.ended_at, life.cleanly = at, True

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
        sums: dict[int, Bytes] = {}
        for (node_id, _), life in self.tables.lives.items():
            sums[node_id] = sum_of((sums.get(node_id, NOTHING), life.carried))
        lives = self.tables.lives.values()
        gaps = sum(life.ended_at is not None and not life.cleanly for life in lives)
        return Tally(sums, gaps, max((life.last_sample_at for life in lives), default=None))

    def counted_by_key(self) -> dict[str, Bytes]:
        """Over all lives."""
        return self._sums_by(lambda uuid, _: uuid)

    def counted_by_node(self) -> dict[int, Bytes]:
        """Over all lives of each."""
        return self._sums_by(lambda _, life: life[0])

    def _sums_by(self, what: Callable[[str, LifeName], T]) -> dict[T, Bytes]:
        found: dict[T, Bytes] = {}
        for (uuid, life), used in self.tables.usage.items():
            found[what(uuid, life)] = sum_of((found.get(what(uuid, life), NOTHING), used))
        return found

    def history(self, uuid: str | None, since: datetime, until: datetime) -> tuple[Point, ...]:
        """The hours, in order."""
        places = {place for place in self.tables.hours if uuid in {None, place[0]}}
        hours = sorted({hour for _, hour in places if _hour_of(since) <= hour < until})
        used = {hour: [self.tables.hours[place] for place in places if place[1] == hour] for hour in hours}
        return tuple(
            Point(hour, Bytes(sum(b.up for b in used[hour]), sum(b.down for b in used[hour]))) for hour in hours
        )

    def fold_into_days(self, before: datetime) -> bool:
        """Old hours go to midnight, all at once."""
        old = [(place, used) for place, used in self.tables.hours.items() if place[1] < before]
        is_new = any(hour.hour for (_, hour), _ in old)
        for (uuid, hour), used in old:
            del self.tables.hours[uuid, hour]
            self._add_to_hour(uuid, hour.replace(hour=0), used)
        return is_new

    def reset(self, uuid: str, at: datetime) -> None:
        """From here on."""
        account, hour = self._account(uuid), _hour_of(at)
        self.tables.accounts[uuid] = replace(
            account,
            offset_bytes=account.base_bytes + self._counted(uuid),
            reset_hour=hour,
            reset_hour_bytes=self.tables.hours.get((uuid, hour), NOTHING).total,
        )

    def used_bytes(self, since: Mapping[str, datetime | None]) -> dict[str, int]:
        """One after another."""
        return {uuid: self._used_bytes(uuid, at) for uuid, at in since.items()}

    def _used_bytes(self, uuid: str, since: datetime | None) -> int:
        """By hour, from the beginning or the reset."""
        if since is None:
            return self.traffic(uuid).total_bytes
        account, begin, before = self._account(uuid), since, 0
        if account.reset_hour is not None and account.reset_hour >= since:
            begin, before = account.reset_hour, account.reset_hour_bytes
        hours = self.tables.hours.items()
        return sum(used.total for (owner, hour), used in hours if owner == uuid and hour >= begin) - before

    def open_account(self, uuid: str, base_bytes: int, counts_at: datetime | None = None) -> None:
        """Counted elsewhere, as if in this hour."""
        self.tables.accounts[uuid] = Account(base_bytes)
        if counts_at is not None and base_bytes:
            self._add_to_hour(uuid, _hour_of(counts_at), Bytes(0, base_bytes))

    def count_elsewhere(self, uuid: str, more_bytes: int, counts_at: datetime | None = None) -> None:
        """On top of what is there."""
        if counts_at is None:
            account = self._account(uuid)
            self.tables.accounts[uuid] = replace(account, base_bytes=account.base_bytes + more_bytes)
        elif more_bytes:
            self._add_to_hour(uuid, _hour_of(counts_at), Bytes(0, more_bytes))

    def start_from(self, samples: Samples) -> None:
        """As if the bytes had been counted and then reset away, in no hour."""
        for uuid, left in samples.usage.items():
            self.tables.usage[uuid, (samples.node_id, samples.epoch)] = left
            self.tables.accounts[uuid] = replace(self._account(uuid), offset_bytes=left.total)

    def _note(self, name: LifeName, at: datetime, more: Bytes) -> None:
        """Another life of the node that had not ended has crashed, unless it was seen later.

        One ended by us lives if it counts.
        """
        lives = {other: life for other, life in self.tables.lives.items() if other[0] == name[0]}
        life = lives.get(name)
        carried = sum_of((NOTHING if life is None else life.carried, more))
        if (
            life is not None
            and life.ended_at is not None
            and (at <= life.ended_at or (life.cleanly and not more.total))
        ):
            life.last_sample_at, life.carried = max(life.last_sample_at, at), carried
            return
        for other in lives.values():
            if other is not life and other.ended_at is None and (life is None or other.last_sample_at < at):
                other.ended_at, other.cleanly = at, False
                self.on_gap(Gap(other.last_sample_at, at), name[0])
        self.tables.lives[name] = Life(at, carried=carried)

    def _seen(self, name: LifeName) -> dict[str, Bytes]:
        return {uuid: used for (uuid, life), used in self.tables.usage.items() if life == name}

    def _add_to_hour(self, uuid: str, hour: datetime, more: Bytes) -> None:
        before = self.tables.hours.get((uuid, hour), NOTHING)
        self.tables.hours[uuid, hour] = Bytes(before.up + more.up, before.down + more.down)

    def _account(self, uuid: str) -> Account:
        return self.tables.accounts.get(uuid, Account())

    def _gaps(self, uuid: str) -> tuple[Gap, ...]:
        """Lives that ended unasked while the key was there."""
        key = next((key for key in self.tables.keys.values() if key.account == uuid), None)
        if key is None:
            return ()
        lives = [(name, life) for name, life in self.tables.lives.items() if not life.cleanly]
        gaps = [(name, Gap(life.last_sample_at, life.ended_at)) for name, life in lives if life.ended_at is not None]
        counted = {name for owner, name in self.tables.usage if owner == uuid}
        found = gaps_of(gaps, counted, key.node.id, key.created_at, key.port_assigned_at)
        return tuple(sorted(found, key=lambda gap: gap.until))

    def _counted(self, uuid: str) -> int:
        return sum(used.total for (owner, _), used in self.tables.usage.items() if owner == uuid)


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
