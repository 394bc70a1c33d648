"""Counts every byte once, from Xray's counters to the accounts.

The service's worker, the enforcer, a timer and a request all sample alike: they read the counters and merge them in one
write transaction. How often, in what order and by how many processes makes no difference (`domain.traffic`).
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from vpnkeys.domain.audit import Entry
from vpnkeys.domain.errors import KeyElsewhere, StoreUnavailable, XrayUnavailable
from vpnkeys.domain.key import Key, Keys, windows_of
from vpnkeys.domain.nodes import LOCAL
from vpnkeys.domain.traffic import Point, Samples, Step, Total, Traffic, by_day
from vpnkeys.interfaces import BRIEFLY_S, Clock, Counters, Node, Store
from vpnkeys.service.limits.usage import UsageBoard
from vpnkeys.service.samples import UnstoredSamples

_HOURS_KEPT = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Presence:
    """Holds from how many devices a customer is online now, and when one was last (UTC, without an offset)."""

    devices: int
    last_seen_at: datetime | None


def count(store: Store, counters: Counters, clock: Clock) -> None:
    """Read the counters and merge them. Raises Unavailable; then nothing was changed."""
    at = clock.now()  # before the reading: a gap begins at this time, and must hold all that passed after the reading
    samples = counters.sample(_uuids(store))
    with store.write() as transaction:
        transaction.ledger.merge(samples, at)


def _uuids(store: Store) -> tuple[str, ...] | None:
    """Return whose counters are wanted: of the built-in node's keys, and of those that have just left it.

    None, for all, if the database is silent.
    """
    try:
        keys, stops = Keys.of(store.keys()), store.stops()
        stopped = keys.among(stop.key_id for stop in stops if stop.node_id == LOCAL.id) if stops else ()
        left = (key for key in stopped if key.node.id != LOCAL.id)
        return tuple(key.account for key in (*keys.on(LOCAL.id), *left))
    except StoreUnavailable:
        return None


@dataclass(slots=True)
class _SharedSample:
    """Holds a sample that has not begun, shared by all callers until then, and the keys whose use they ask for."""

    keys: set[Key] = field(default_factory=set)
    answer: Future[Mapping[str, Traffic]] = field(default_factory=Future)


@dataclass(slots=True)
class TrafficService:
    """Implements the use cases about traffic."""

    store: Store
    node: Node
    clock: Clock
    has_node: bool = True
    """Whether there is an Xray here; without one there is nothing to sample."""
    online_elsewhere: Callable[[], Mapping[str, int]] = dict
    """Returns from how many devices keys on other nodes are online, by account."""
    unstored: UnstoredSamples = field(init=False)
    usage: UsageBoard = field(init=False)
    samples: int = field(default=0, init=False)  # taken so far: tells the enforcer of new ones
    _not_stored: StoreUnavailable | None = field(default=None, init=False)
    _sampling: threading.Lock = field(default_factory=threading.Lock, init=False)
    _sharing: threading.Lock = field(default_factory=threading.Lock, init=False)
    _next: _SharedSample | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Begin with no sample that is not stored."""
        self.unstored = UnstoredSamples(self.store)
        self.usage = UsageBoard(self.unstored.used_bytes, self.clock)

    def collect(self) -> None:
        """Take a sample and merge it; one that the database does not take counts too, and is merged with the next.

        Raises XrayUnavailable; then nothing was changed.

        Calls that come while a sample is taken share the next one: it begins after all of them, so it has all bytes
        that passed before they came. When Xray does not answer, all who wait get that error at once: each asking Xray
        in turn, they would wait for minutes.
        """
        sample, leads = self._share_next(())
        if leads:
            self._take(sample)
        sample.answer.result()

    def tick(self) -> None:
        """Take a sample as `collect` does, and refresh `usage`.

        Raises Unavailable, and StoreUnavailable for a sample too that counts and is only not stored yet.
        """
        self.collect()
        self.usage.follow(self.store.keys())
        if self._not_stored is not None:
            raise self._not_stored

    def note(self, samples: Samples, at: datetime) -> None:
        """Merge a sample that was read at this time, as `collect` does; it may be of some keys only."""
        with self._sampling:
            self._count(samples, at, are_all=False)

    def count_left(self, accounts: Collection[str]) -> None:
        """Count what keys have used that have left this server for another. Raises XrayUnavailable."""
        at = self.clock.now()
        self.note(self.node.sample(accounts), at)

    async def sampled(self, key: Key) -> Traffic:
        """Return what a key has used, sampled now; `usage` knows as much of its window. Raises Unavailable.

        This is `collect` for an event loop: all who share a sample wait without a thread of their own, and their keys
        are read together. Of a key elsewhere its node reports, also while there is no Xray here.
        """
        if key.node.id != LOCAL.id:
            return (await asyncio.to_thread(self._used_by, (key,)))[key.account]
        sample, leads = self._share_next((key,))
        if leads:
            asyncio.get_running_loop().run_in_executor(None, self._take, sample)
        # Shielded: a caller that is cancelled must not cancel the answer for the others.
        return (await asyncio.shield(asyncio.wrap_future(sample.answer)))[key.account]

    def _share_next(self, keys: Collection[Key]) -> tuple[_SharedSample, bool]:
        """Return the sample that begins next, and whether the caller is its first and has to take it."""
        with self._sharing:
            leads = self._next is None
            sample = self._next = self._next or _SharedSample()
            sample.keys.update(keys)
            return sample, leads

    def _take(self, sample: _SharedSample) -> None:
        """Take the sample, and answer all who share it."""
        with self._sampling:
            if not self._close(sample):
                return
            try:
                at = self.clock.now()  # before the reading, as in `count`
                if self.has_node:
                    self._count(self.node.sample(_uuids(self.store)), at, are_all=True)
                sample.answer.set_result(self._used_by(sample.keys) if sample.keys else {})
            except BaseException as error:  # noqa: BLE001 - without an answer, callers would wait for ever
                if isinstance(error, XrayUnavailable):
                    self._cancel_next(error)  # before the answer: who has it may ask anew
                sample.answer.set_exception(error)

    def _count(self, samples: Samples, at: datetime, *, are_all: bool) -> None:
        self.unstored.keep(samples, at)
        self.usage.note(samples, are_all=are_all)
        self._not_stored = self._store_samples()
        self.samples += 1

    def _used_by(self, keys: Collection[Key]) -> Mapping[str, Traffic]:
        self.usage.read(windows_of(keys, self.clock.now()))
        return self.unstored.traffic_of({key.account for key in keys})

    def _store_samples(self) -> StoreUnavailable | None:
        """Merge the samples that are not stored; return the error of a database that does not take them."""
        try:
            with self.store.write(patience_s=BRIEFLY_S) as transaction:
                self.unstored.merge(transaction.ledger)
        except StoreUnavailable as error:
            self.unstored.doubt()
            return error
        self.unstored.forget()
        return None

    def _close(self, sample: _SharedSample) -> bool:
        """Close this sample to further callers; return whether it is still to be taken.

        It begins now: a caller that came later could miss bytes that passed before it came.
        """
        with self._sharing:
            if self._next is sample:
                self._next = None
            return not sample.answer.done()

    def _cancel_next(self, error: XrayUnavailable) -> None:
        """Answer those who wait for the next sample that Xray does not answer, instead of asking it again."""
        with self._sharing:
            waiting, self._next = self._next, None
        if waiting is not None:
            waiting.answer.set_exception(XrayUnavailable(str(error)))

    def totals(self) -> Mapping[str, Total]:
        """Return what each key has used, by UUID, as last sampled. Raises StoreUnavailable."""
        return self.store.totals()

    def reset(self, key: Key) -> None:
        """Let a key's total start again from zero. Raises KeyElsewhere, Unavailable.

        Sample and reset are one transaction: bytes of the time before must not count in the new total. Xray's own
        counters are not reset, as that would lose what passes between the reading and the reset.
        """
        if key.node.id != LOCAL.id:
            msg = f"The key lives on node {key.node.name}, which counts its limit by itself; raise the limit instead."
            raise KeyElsewhere(msg)
        with self._sampling:
            at = self.clock.now()
            self.unstored.keep(self.node.sample(_uuids(self.store)), at)
            with self.store.write() as transaction:
                self.unstored.merge(transaction.ledger)
                used = transaction.ledger.used_bytes({key.account: None})[key.account]
                transaction.ledger.reset(key.account, at)
                transaction.record(Entry("key.traffic_reset", key.id, {"total_bytes": used}, {"total_bytes": 0}))
            self.unstored.forget()
            self.usage.forget(key)

    def online_by_key(self, keys: Collection[Key]) -> dict[str, int]:
        """Return from how many devices each key is online, by UUID. Raises XrayUnavailable, StoreUnavailable."""
        here = [key.account for key in keys if key.node.id == LOCAL.id]
        with self._sampling:
            online = self.node.addresses_online(here) if here else {}
        far = [key.account for key in keys if key.node.id != LOCAL.id]
        elsewhere = self.online_elsewhere() if far else {}
        there = {account: elsewhere.get(account, 0) for account in far}
        return {uuid: len(addresses) for uuid, addresses in online.items()} | there

    def history(self, key: Key | None, since: datetime, until: datetime, step: Step) -> tuple[Point, ...]:
        """Return the bytes that a key (None: all together) used by hour or day, as far as they were sampled."""
        points = self.store.history(None if key is None else key.account, since, until)
        return by_day(points) if step is Step.DAY else points

    def online(self, key: Key) -> Presence:
        """Return from how many devices a key's customer is online. Raises Unavailable."""
        devices = self.online_by_key([key])[key.account]
        seen = self.store.traffic(key.account).last_seen_at
        # A customer who is online is seen now, however old the last sample of its traffic is.
        return Presence(devices, self.clock.now() if devices else seen)

    def held(self) -> AbstractContextManager[object]:
        """Return a context in which no sample is taken, for a restart of Xray; callers wait until it ends."""
        return self._sampling

    def fold_history(self) -> None:
        """Add hours that are older than 90 days up to days. Raises StoreUnavailable, also while others read them."""
        today = self.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        has_more = True
        while has_more:  # a day at a time: after a long pause there are many, and other writers wait meanwhile
            with self.store.write() as transaction:
                has_more = transaction.ledger.fold_into_days(before=today - _HOURS_KEPT)

    def close_epoch(self, last: Samples) -> None:
        """Merge the last sample of an Xray that is about to be ended, and store that this epoch has no gap.

        Raises StoreUnavailable; then the sample is merged with the next one, if this process lives so long.
        """
        self.unstored.keep(last, self.clock.now(), has_ended=True)
        self.unstored.doubt()  # what the database may have lost meanwhile, no later sample has
        with self.store.write() as transaction:
            self.unstored.merge(transaction.ledger)
        self.unstored.forget()
