"""Count every byte once: the one road from Xray's counters to the accounts.

Whoever samples, the service every ten seconds, the timer, a request, does the same: read the counters, and merge them
in one write transaction. How often, in what order and by how many processes makes no difference (`domain.traffic`).
"""

import asyncio
import logging
import threading
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from vpnkeys.domain.audit import Entry
from vpnkeys.domain.errors import Unavailable, XrayUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.traffic import Point, Samples, Step, Total, Traffic, by_day
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
class _Flight:
    """A sample that is yet to begin, shared by all who ask before it does, and the keys whose use they ask for."""

    uuids: set[str] = field(default_factory=set)
    answer: Future[Mapping[str, Traffic]] = field(default_factory=Future)


@dataclass(slots=True)
class TrafficService:
    """The use cases about traffic."""

    store: Store
    node: Node
    clock: Clock
    _sampling: threading.Lock = field(default_factory=threading.Lock, init=False)
    _boarding: threading.Lock = field(default_factory=threading.Lock, init=False)
    _next: _Flight | None = field(default=None, init=False)
    _folded_on: date | None = field(default=None, init=False)

    def collect(self) -> None:
        """Take a sample and merge it. Raises Unavailable; then nothing was changed.

        Requests that come while one is taken share the next: it begins after all of them, so it has all their bytes.
        When Xray turns out to be silent, all who waited hear of it: one after the other they would wait for minutes.
        """
        flight, leads = self._join(())
        if leads:
            self._fly(flight)
        flight.answer.result()

    async def sampled(self, uuid: str) -> Traffic:
        """Return what a key has used, sampled now. Raises Unavailable.

        It is `collect` for an event loop: all who share a sample wait without a thread of their own, and their keys
        are looked up together.
        """
        flight, leads = self._join((uuid,))
        if leads:
            asyncio.get_running_loop().run_in_executor(None, self._fly, flight)
        # Shielded, because a caller who goes away must not take the answer from the others.
        return (await asyncio.shield(asyncio.wrap_future(flight.answer)))[uuid]

    def _join(self, uuids: Collection[str]) -> tuple[_Flight, bool]:
        """Return the sample that begins next, and whether the caller is its first and has to take it."""
        with self._boarding:
            leads = self._next is None
            flight = self._next = self._next or _Flight()
            flight.uuids.update(uuids)
            return flight, leads

    def _fly(self, flight: _Flight) -> None:
        """Take the sample, and answer all who share it."""
        with self._sampling:
            if not self._depart(flight):
                return
            try:
                count(self.store, self.node, self.clock)
                flight.answer.set_result(self.store.traffic_of(flight.uuids) if flight.uuids else {})
            except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must not wait for ever
                flight.answer.set_exception(error)
                if isinstance(error, XrayUnavailable):
                    self._cancel_next(error)

    def _depart(self, flight: _Flight) -> bool:
        """Let nobody else share this sample; return whether it is still to be taken."""
        with self._boarding:
            if self._next is flight:
                self._next = None
            return not flight.answer.done()

    def _cancel_next(self, error: XrayUnavailable) -> None:
        """Tell those who wait for the next sample that Xray is silent, instead of asking it once more."""
        with self._boarding:
            waiting, self._next = self._next, None
        if waiting is not None:
            waiting.answer.set_exception(XrayUnavailable(str(error)))

    def totals(self) -> Mapping[str, Total]:
        """Return what each key has used, by UUID, as last sampled."""
        return self.store.totals()

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
