"""A Store in memory that keeps the promises of `vpnkeys.interfaces`, and can be told to break down."""

import copy
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from tests.fakes import Steps
from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.traffic import NOTHING, Bytes, Gap, Samples, Traffic, merge


@dataclass(slots=True)
class Life:
    """What is remembered of one life of Xray."""

    last_sample_at: datetime
    ended_at: datetime | None = None
    cleanly: bool = False


@dataclass(slots=True)
class Tables:
    """What a transaction sees."""

    keys: dict[str, Key] = field(default_factory=dict)
    usage: dict[tuple[str, str], Bytes] = field(default_factory=dict)
    accounts: dict[str, tuple[int, int]] = field(default_factory=dict)
    lives: dict[str, Life] = field(default_factory=dict)
    answers: dict[str, tuple[str, str, datetime]] = field(default_factory=dict)


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

    def merge(self, samples: Samples, at: datetime) -> None:
        """Keep the highest counters; another life that had not ended has crashed."""
        life = self.tables.lives.setdefault(samples.epoch, Life(at))
        life.last_sample_at = at
        life.ended_at = None
        for epoch, other in self.tables.lives.items():
            if epoch != samples.epoch and other.ended_at is None:
                other.ended_at, other.cleanly = at, False
        known = {key.uuid for key in self.tables.keys.values()}
        for uuid, counters in samples.usage.items():
            if uuid in known:
                place = (uuid, samples.epoch)
                self.tables.usage[place] = merge(self.tables.usage.get(place, NOTHING), counters)

    def end_epoch(self, epoch: str, at: datetime) -> None:
        """Ended by us."""
        if epoch in self.tables.lives:
            self.tables.lives[epoch].ended_at, self.tables.lives[epoch].cleanly = at, True

    def traffic(self, uuid: str) -> Traffic:
        """Imported and counted, less what was reset away."""
        base, offset = self.tables.accounts.get(uuid, (0, 0))
        return Traffic(base + self._counted(uuid) - offset, self._gaps(uuid))

    def reset(self, uuid: str) -> None:
        """From here on."""
        base, _ = self.tables.accounts.get(uuid, (0, 0))
        self.tables.accounts[uuid] = (base, base + self._counted(uuid))

    def open_account(self, uuid: str, base_bytes: int) -> None:
        """Counted elsewhere."""
        self.tables.accounts[uuid] = (base_bytes, 0)

    def _gaps(self, uuid: str) -> tuple[Gap, ...]:
        """Lives that ended unasked while the key was there."""
        born = next(key.created_at for key in self.tables.keys.values() if key.uuid == uuid)
        ends = [(life.last_sample_at, life.ended_at) for life in self.tables.lives.values() if not life.cleanly]
        gaps = [Gap(since, until) for since, until in ends if until is not None and until > born]
        return tuple(sorted(gaps, key=lambda gap: gap.until))

    def _counted(self, uuid: str) -> int:
        return sum(used.total for (owner, _), used in self.tables.usage.items() if owner == uuid)


@dataclass(slots=True)
class FakeTransaction:
    """A write transaction on a copy, which takes the place of the original in the end."""

    tables: Tables

    def keys(self) -> tuple[Key, ...]:
        """Oldest first."""
        return tuple(sorted(self.tables.keys.values(), key=lambda key: (key.created_at, key.id)))

    def insert(self, key: Key) -> None:
        """Add a key. Raises ValueError when it is not new in every respect."""
        for other in self.tables.keys.values():
            if {key.id, key.uuid, key.port, key.short_id} & {other.id, other.uuid, other.port, other.short_id}:
                raise ValueError(f"not new: {key}")
        self.tables.keys[key.id] = key

    def delete(self, key_id: str) -> None:
        """Remove a key and what it used."""
        gone = self.tables.keys.pop(key_id, None)
        if gone is not None:
            self.tables.accounts.pop(gone.uuid, None)
            self.tables.usage = {place: used for place, used in self.tables.usage.items() if place[0] != gone.uuid}

    def move(self, ports: Mapping[str, int], at: datetime) -> None:
        """Give keys other ports. Raises ValueError when two would have the same."""
        moved = {
            key_id: replace(self.tables.keys[key_id], port=port, port_assigned_at=at) for key_id, port in ports.items()
        }
        self.tables.keys |= moved
        if len({key.port for key in self.tables.keys.values()}) != len(self.tables.keys):
            raise ValueError(f"two keys on one port: {ports}")

    @property
    def ledger(self) -> FakeLedger:
        """The accounts."""
        return FakeLedger(self.tables)

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

    @contextmanager
    def write(self) -> Iterator[FakeTransaction]:
        """Work on a copy; the copy becomes the truth when the block ends well."""
        self._answer()
        if not self.memory.lock.acquire(timeout=self.busy_timeout_s):
            raise StoreUnavailable("somebody else writes")
        try:
            transaction = FakeTransaction(copy.deepcopy(self.memory.tables))
            yield transaction
            self._answer()
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
