"""Knows what each key has used in the window of its traffic limit: the numbers by which limits strike and are shown."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from vpnkeys.domain.errors import StoreUnavailable, WaitsElsewhere
from vpnkeys.domain.key import ACCOUNT, Key, Keys, windows_of
from vpnkeys.domain.limits import WindowUsage
from vpnkeys.domain.traffic import Samples
from vpnkeys.interfaces import Clock

_GOOD_FOR_S = 15.0
"""A little more than the time between two samples of the service, after each of which it is read again."""

_REFRESH_S = 9.0
"""Less than the time between two samples of the service while no bytes pass."""

_WANTED_FOR_S = 60.0
"""For how long after a question for a key it is read again and again, so that the next one finds it."""

_MARK_S = 5.0
"""For how long nobody has to look whether a number has become too old."""


class _Read(NamedTuple):
    """What a key has used since then, when that was read, monotonic, and the number of the last sample before it."""

    since: datetime | None
    used_bytes: int
    at: float
    samples: int


class _All(NamedTuple):
    """The usage of all keys as last returned, and what it was made of."""

    keys: tuple[Key, ...]
    state: object
    midnight: datetime
    good_until: float
    usage: tuple[WindowUsage, ...]


@dataclass(slots=True)
class UsageBoard:
    """Keeps what was last read from the ledger, by account; reads again what is missing, old, or of another window.

    Requests for keys are answered on the event loop, thousands a second: they must not ask the database each time. Of
    keys that nobody asks for nothing is kept: there may be a hundred thousand.
    """

    ledger: Callable[[Mapping[str, datetime | None], Iterable[Samples]], Mapping[str, int]]
    clock: Clock
    now: Callable[[], float] = time.monotonic
    _read: dict[str, _Read] = field(default_factory=dict, init=False)
    _wanted_at: dict[str, float] = field(default_factory=dict, init=False)
    """When each account was last asked for."""
    _state: object = field(default_factory=object, init=False)
    _all: _All | None = field(default=None, init=False)
    _sampled: Samples = field(default=Samples("", {}), init=False)
    _samples: int = field(default=0, init=False)
    _used_in: dict[str, int] = field(default_factory=dict, init=False)
    """In which of the samples each account was last used."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _used: set[str] = field(default_factory=set, init=False)
    _outdated: set[str] = field(default_factory=set, init=False)
    _refresh_at: float = field(default=float("-inf"), init=False)

    def read(self, since: Mapping[str, datetime | None], fresh: Iterable[Samples] = ()) -> Mapping[str, int]:
        """Return the bytes that accounts have used since a time each. Raises StoreUnavailable.

        What nobody has used since it was last read is not read again, unless it is old, or one of `fresh` is of it.
        """
        fresh, now = tuple(fresh), self.now()
        oldest, sampled = now - _GOOD_FOR_S, {account for one in fresh for account in one.usage}
        self._wanted_at.update(dict.fromkeys(since, now))
        known, unknown = {}, {}
        for account, begin in since.items():
            read = self._recent(account, begin, oldest)
            if read is None or read.samples < self._used_in.get(account, 0) or account in sampled:
                unknown[account] = begin
            else:
                known[account] = read.used_bytes
        return {**known, **(self._read_anew(unknown, fresh) if unknown else {})}

    def note(self, samples: Samples, *, are_all: bool) -> None:
        """Note a sample, of all keys or of some: `read` reads again what was used since the one before."""
        is_same_life = (self._sampled.epoch, self._sampled.node_id) == (samples.epoch, samples.node_id)
        before = self._sampled.usage if is_same_life else {}
        used = {account for account, counters in samples.usage.items() if before.get(account) != counters}
        self._sampled = samples if are_all else replace(samples, usage={**before, **samples.usage})
        self._outdate(used)

    def take_used(self) -> frozenset[str]:
        """Return the accounts that were used, or reset, since the last call."""
        with self._lock:
            used, self._used = self._used, set()
        return frozenset(used)

    def _outdate(self, accounts: Collection[str]) -> None:
        # The number last: what is being read meanwhile may be of before.
        self._used_in.update(dict.fromkeys(accounts, self._samples + 1))
        self._samples += 1
        with self._lock:
            self._used.update(accounts)
            self._outdated.update(accounts)

    def _read_anew(self, since: Mapping[str, datetime | None], fresh: Iterable[Samples] = ()) -> Mapping[str, int]:
        at, samples = self.now(), self._samples
        used = self.ledger(since, fresh) if since else {}
        for account, begin in since.items():
            before = self._read.get(account)
            if before is None or (before.since, before.used_bytes) != (begin, used[account]):
                self._state = object()
            self._read[account] = _Read(begin, used[account], at, samples)
        return used

    def follow(self, keys: tuple[Key, ...]) -> None:
        """Read the keys again that were used since the last time, and all once in a while, of those that are wanted.

        Raises StoreUnavailable.
        """
        now = self.now()
        if now >= self._refresh_at:
            self._refresh(Keys.of(keys), now)
            return
        with self._lock:
            accounts, self._outdated = self._outdated, set()
        self._read_anew(windows_of(Keys.of(keys).those(ACCOUNT, accounts & self._wanted_at.keys()), self.clock.now()))

    def _refresh(self, keys: Keys, now: float) -> None:
        """Read what is wanted of these keys again, and forget the others. Raises StoreUnavailable."""
        wanted = [account for account, at in [*self._wanted_at.items()] if now - at <= _WANTED_FOR_S]
        since = windows_of(keys.those(ACCOUNT, wanted), self.clock.now())
        with self._lock:
            self._outdated = set()
            self._used = {account for account in self._used if account in keys.by(ACCOUNT)}
        self._read_anew(since)
        self._refresh_at = self.now() + _REFRESH_S
        for kept in (self._read, self._used_in, self._wanted_at):
            for account in kept.keys() - since.keys():
                if self._wanted_at.get(account, now) <= now:  # else it is wanted only now
                    kept.pop(account, None)

    def _read_missing(self, since: Mapping[str, datetime | None]) -> None:
        # What was used since the last sample is read by the thread that took it: an event loop must not wait for it.
        now = self.now()
        self._wanted_at.update(dict.fromkeys(since, now))
        missing = {one: begin for one, begin in since.items() if self._recent(one, begin, now - _GOOD_FOR_S) is None}
        if missing:
            self._read_anew(missing)

    def _recent(self, account: str, since: datetime | None, oldest: float) -> _Read | None:
        read = self._read.get(account)
        return read if read is not None and read.since == since and read.at >= oldest else None

    def forget(self, key: Key) -> None:
        """Read this key again when it is next asked for."""
        self._read.pop(key.account, None)
        self._outdate([key.account])
        self._state = object()

    def mark(self) -> object:
        """Return what stays equal while no usage can have changed, for a few seconds at most."""
        return self._state, self.clock.now().toordinal(), self.now() // _MARK_S

    def of(self, key: Key) -> WindowUsage:
        """Return the usage of a key, as last sampled. Raises WaitsElsewhere."""
        return self._of((key,), self.clock.now())[0]

    def of_each(self, keys: tuple[Key, ...]) -> tuple[WindowUsage, ...]:
        """Return the usage of some keys, as last sampled. Raises WaitsElsewhere."""
        return self._of(keys, self.clock.now())

    def of_all(self, keys: tuple[Key, ...]) -> tuple[WindowUsage, ...]:
        """Return the usage of all keys, as last sampled: the same tuple until anything has changed.

        Raises WaitsElsewhere.
        """
        now, at = self.clock.now(), self.now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        kept = self._all
        if (
            kept is None
            or kept.keys is not keys
            or (kept.state, kept.midnight) != (self._state, midnight)
            or at >= kept.good_until
        ):
            usage = self._of(keys, now)
            oldest = min((self._read[key.account].at for key in keys if key.account in self._read), default=at)
            kept = self._all = _All(keys, self._state, midnight, oldest + _GOOD_FOR_S, usage)
        return kept.usage

    def _of(self, keys: tuple[Key, ...], now: datetime) -> tuple[WindowUsage, ...]:
        since = windows_of(keys, now)
        try:
            self._read_missing(since)
        except WaitsElsewhere:
            raise
        except StoreUnavailable:
            pass  # then what is known is shown, and of the others that nothing is
        return tuple(self._shown(key, since[key.account], now) for key in keys)

    def _shown(self, key: Key, since: datetime | None, now: datetime) -> WindowUsage:
        read = self._read.get(key.account)
        used = read.used_bytes if read is not None and read.since == since else None
        return WindowUsage.of(key.limits.traffic_bytes, key.limits.traffic_window, used, now)
