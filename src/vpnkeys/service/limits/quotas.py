"""Stops keys that reach their traffic limits, before a second of traffic has passed beyond them."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.key import Key, windows_of
from vpnkeys.domain.limits import LOOK_EVERY_S, Limits, Status, judge, look_again_in
from vpnkeys.domain.traffic import NOTHING, Bytes, Samples
from vpnkeys.service.keys import KeyService
from vpnkeys.service.limits.striking import enforce_limits
from vpnkeys.service.traffic import TrafficService
from vpnkeys.worker import Job, Worker

_JOB = Job(
    name="quota-watch",
    failing="traffic limits could not be checked",
    every_s=LOOK_EVERY_S,
    back_off_s=(LOOK_EVERY_S,),
    late_after_s=10.0,
    expected=(Unavailable,),
)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Holds what was seen of a key, and when to look next; times are monotonic."""

    limits: Limits
    epoch: str
    counters: Bytes
    used_bytes: int
    at: float
    look_at: float


@dataclass(slots=True)
class QuotaWatch:
    """Looks at each key with a traffic limit the sooner, the sooner its traffic would reach it.

    A look reads only the counters of the keys that are due, and the database only for those that were used since.
    Nothing is written before a limit is reached. The enforcer merges samples, and lets keys work again.
    """

    keys: KeyService
    traffic: TrafficService
    now: Callable[[], float] = time.monotonic
    worker: Worker = field(init=False)
    _all: tuple[Key, ...] = field(default=(), init=False)
    _limited: tuple[Key, ...] = field(default=(), init=False)
    _seen: dict[str, _Seen] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Make the worker; nothing is looked at before it starts."""
        self.worker = Worker(_JOB, self.look)

    def look(self) -> float:
        """Look at the keys that are due, stop those that are used up; return the seconds until the next look.

        Raises Unavailable.
        """
        if (
            keys := self.keys.reconciler.stops.last_keys()
        ) is not self._all:  # it is the same tuple until a key changes
            self._all = keys
            self._limited = tuple(key for key in keys if key.serves and key.limits.traffic_bytes is not None)
            self._seen = {key.account: self._seen[key.account] for key in self._limited if key.account in self._seen}
        now = self.now()
        due = [key for key in self._limited if self._is_due(key, now)]
        if due:
            self._look_at(due, now)
        soonest = min((seen.look_at for seen in self._seen.values()), default=now + LOOK_EVERY_S)
        # A new limit is noticed by a look too, so that one comes soon though no known limit is due.
        return min(max(0.0, soonest - self.now()), LOOK_EVERY_S)

    def _is_due(self, key: Key, now: float) -> bool:
        seen = self._seen.get(key.account)
        return seen is None or seen.limits != key.limits or seen.look_at <= now

    def _look_at(self, due: Iterable[Key], now: float) -> None:
        time_of_day = self.keys.clock.now()  # before the reading, as for every sample
        sample = self.traffic.node.sample([key.account for key in due])
        counters = {key.account: sample.usage.get(key.account, NOTHING) for key in due}
        changed = [key for key in due if not self._is_unchanged(key, sample.epoch, counters[key.account])]
        used = self.traffic.unstored.used_bytes(windows_of(changed, time_of_day), [sample]) if changed else {}
        if any(judge(key.limits, used[key.account], time_of_day) is not Status.ACTIVE for key in changed):
            self._strike(sample, time_of_day)  # one that fails is noted nowhere, so that the next look tries again
        for key in due:
            self._note(key, sample.epoch, counters[key.account], used.get(key.account), now)

    def _is_unchanged(self, key: Key, epoch: str, counters: Bytes) -> bool:
        seen = self._seen.get(key.account)
        return seen is not None and (seen.limits, seen.epoch, seen.counters) == (key.limits, epoch, counters)

    def _note(self, key: Key, epoch: str, counters: Bytes, used: int | None, now: float) -> None:
        """Note what was seen of a key; `used` is None when nothing has changed."""
        seen = self._seen.get(key.account)
        rate = 0.0
        if used is None:
            used = 0 if seen is None else seen.used_bytes
        elif seen is not None and now > seen.at:
            rate = (used - seen.used_bytes) / (now - seen.at)
        wait_s = look_again_in((key.limits.traffic_bytes or 0) - used, rate)
        self._seen[key.account] = _Seen(key.limits, epoch, counters, used, now, now + wait_s)

    def _strike(self, sample: Samples, at: datetime) -> None:
        """Stop the keys that are used up, and store what they have used."""
        # Stopped first, as the database may take no sample. Under one lock, because a check in between, which counts
        # what is stored, would start the keys again.
        with self.keys.reconciler.changing:
            try:
                enforce_limits(self.keys.changer, [sample])
            finally:
                # Not a new sample alone: an Xray that dies before it would take along what the stop is due to.
                self.traffic.note(sample, at)
                self.traffic.collect()
