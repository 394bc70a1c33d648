"""Count every byte once: the one road from Xray's counters to the accounts.

Whoever samples, the service every ten seconds, the timer, a request, does the same: read the counters, and merge them
in one write transaction. How often, in what order and by how many processes makes no difference (`domain.traffic`).
"""

import logging
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from vpnkeys.domain.audit import Entry
from vpnkeys.domain.errors import Unavailable, XrayUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.traffic import Point, Samples, Step, Traffic, by_day
from vpnkeys.interfaces import Clock, Counters, Node, Store
from vpnkeys.worker import Job, Worker

_log = logging.getLogger(__name__)

_HOURS_KEPT = timedelta(days=90)
_LATE_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class Presence:
    """From how many addresses a customer is online now, and when one was last."""

    devices: int
    last_seen_at: datetime | None


def count(store: Store, counters: Counters, clock: Clock) -> None:
    """Read the counters and merge them. Raises Unavailable; then nothing was changed."""
    at = clock.now()
    samples = counters.sample()
    with store.write() as transaction:
        transaction.ledger.merge(samples, at)


@dataclass(slots=True)
class TrafficService:
    """The use cases about traffic."""

    store: Store
    node: Node
    clock: Clock
    _sampling: threading.Lock = field(default_factory=threading.Lock, init=False)
    _last_began: float = field(default=0.0, init=False)
    _silence: tuple[float, str] = field(default=(0.0, ""), init=False)
    _folded_on: date | None = field(default=None, init=False)

    def collect(self) -> None:
        """Take a sample and merge it. Raises Unavailable; then nothing was changed.

        Requests that come while one is taken share the next: it begins after all of them, so it has all their bytes.
        When Xray turns out to be silent, all who waited hear of it: one after the other they would wait for minutes.
        """
        asked = time.monotonic()
        with self._sampling:
            if self._last_began > asked:
                return
            silent_at, silence = self._silence
            if silent_at > asked:
                raise XrayUnavailable(silence)
            began = time.monotonic()
            try:
                count(self.store, self.node, self.clock)
            except XrayUnavailable as error:
                self._silence = time.monotonic(), str(error)
                raise
            self._last_began = began

    def of(self, uuids: Collection[str]) -> Mapping[str, Traffic]:
        """What keys have used, by UUID, sampled now. Raises Unavailable."""
        self.collect()
        return self.store.traffic_of(uuids)

    def reset(self, key: Key) -> None:
        """Let a key's total start again from zero: sample and reset in one transaction. Raises Unavailable."""
        with self._sampling:
            at = self.clock.now()
            samples = self.node.sample()
            with self.store.write() as transaction:
                transaction.ledger.merge(samples, at)
                used = transaction.ledger.used_bytes(key.uuid, None)
                transaction.ledger.reset(key.uuid, at)
                transaction.record(Entry("key.traffic_reset", key.id, {"total_bytes": used}, {"total_bytes": 0}))

    def online_by_key(self, keys: Collection[Key]) -> dict[str, int]:
        """How many addresses each key is online from, by UUID. Raises XrayUnavailable."""
        with self._sampling:
            online = self.node.addresses_online([key.uuid for key in keys])
        return {uuid: len(addresses) for uuid, addresses in online.items()}

    def history(self, key: Key | None, since: datetime, until: datetime, step: Step) -> tuple[Point, ...]:
        """What a key (None: all together) used by hour or day, as far as it was sampled."""
        points = self.store.history(None if key is None else key.uuid, since, until)
        return by_day(points) if step is Step.DAY else points

    def online(self, key: Key) -> Presence:
        """Whether a key's customer is online, and from how many addresses. Raises XrayUnavailable."""
        with self._sampling:
            devices = len(self.node.addresses_online([key.uuid])[key.uuid])
        seen = self.store.traffic(key.uuid).last_seen_at
        return Presence(devices, self.clock.now() if devices else seen)

    def held(self) -> AbstractContextManager[object]:
        """Whoever asks Xray for numbers meanwhile waits: for a restart of Xray, which is over soon."""
        return self._sampling

    def fold_history(self) -> None:
        """Keep what is older than 90 days by day only."""
        today = self.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        with self.store.write() as transaction:
            transaction.ledger.fold_into_days(before=today - _HOURS_KEPT)

    def close_epoch(self, last: Samples) -> None:
        """Merge the last sample of an Xray that is about to be ended, and note that nothing is missing from it."""
        at = self.clock.now()
        with self.store.write() as transaction:
            transaction.ledger.merge(last, at)
            transaction.ledger.end_epoch(last.epoch, at)

    def sampler(self, every_s: float) -> Worker:
        """Return a worker that takes a sample every so often, and once a day folds what is old."""
        job = Job(
            name="sampler",
            failing="traffic could not be sampled",
            every_s=every_s,
            first_after_s=every_s,
            back_off_s=(every_s,),
            late_after_s=2 * every_s + _LATE_AFTER_S,
            expected=(Unavailable,),
        )
        return Worker(job, self._sample)

    def _sample(self) -> None:
        self.collect()
        if self._folded_on != (today := self.clock.now().date()):
            self.fold_history()
            self._folded_on = today
