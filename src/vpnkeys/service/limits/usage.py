"""Knows what each key has used in the window of its traffic limit: the numbers by which limits strike and are shown."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.key import Key, windows_of
from vpnkeys.domain.limits import WindowUsage
from vpnkeys.domain.traffic import Samples
from vpnkeys.interfaces import Clock

_GOOD_FOR_S = 15.0
"""A little more than the time between two samples of the service, after each of which all is read."""


class _Read(NamedTuple):
    """What a key has used since then; `at` is monotonic."""

    since: datetime | None
    used_bytes: int
    at: float


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

    Requests for keys are answered on the event loop, thousands a second: they must not ask the database each time.
    """

    ledger: Callable[[Mapping[str, datetime | None], Iterable[Samples]], Mapping[str, int]]
    clock: Clock
    now: Callable[[], float] = time.monotonic
    _read: dict[str, _Read] = field(default_factory=dict, init=False)
    _state: object = field(default_factory=object, init=False)
    _all: _All | None = field(default=None, init=False)

    def read(self, since: Mapping[str, datetime | None], fresh: Iterable[Samples] = ()) -> Mapping[str, int]:
        """Return the bytes that accounts have used since a time each, and keep them. Raises StoreUnavailable."""
        at = self.now()
        used = self.ledger(since, fresh)
        for account, begin in since.items():
            before = self._read.get(account)
            if before is None or (before.since, before.used_bytes) != (begin, used[account]):
                self._state = object()
            self._read[account] = _Read(begin, used[account], at)
        return used

    def refresh(self, keys: Collection[Key]) -> None:
        """Read all keys again, and forget those that are gone. Raises StoreUnavailable."""
        since = windows_of(keys, self.clock.now())
        self.read(since)
        for account in self._read.keys() - since.keys():
            self._read.pop(account, None)

    def forget(self, key: Key) -> None:
        """Read this key again when it is next asked for."""
        self._read.pop(key.account, None)
        self._state = object()

    def of(self, key: Key) -> WindowUsage:
        """Return the usage of a key, as last sampled."""
        return self._of((key,), self.clock.now())[0]

    def of_each(self, keys: tuple[Key, ...]) -> tuple[WindowUsage, ...]:
        """Return the usage of some keys, as last sampled."""
        return self._of(keys, self.clock.now())

    def of_all(self, keys: tuple[Key, ...]) -> tuple[WindowUsage, ...]:
        """Return the usage of all keys, as last sampled: the same tuple until anything has changed."""
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
        oldest = self.now() - _GOOD_FOR_S
        unknown = {account: begin for account, begin in since.items() if not self._knows(account, begin, oldest)}
        with suppress(StoreUnavailable):  # then what is known is shown, and of the others that nothing is
            if unknown:
                self.read(unknown)
        return tuple(self._shown(key, since[key.account], now) for key in keys)

    def _knows(self, account: str, since: datetime | None, oldest: float) -> bool:
        read = self._read.get(account)
        return read is not None and read.since == since and read.at >= oldest

    def _shown(self, key: Key, since: datetime | None, now: datetime) -> WindowUsage:
        read = self._read.get(key.account)
        used = read.used_bytes if read is not None and read.since == since else None
        return WindowUsage.of(key.limits.traffic_bytes, key.limits.traffic_window, used, now)
