"""Counts events by their source in moving windows, on a monotonic clock and in bounded memory."""

import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

_MOST_KEPT = 100_000
"""How many times of events are kept in all; they take about 12 MB at most."""
_LEAST_SOURCES = 1_000
"""Sources kept whatever the limit, so that a large one does not make API keys displace each other."""


class Taken(NamedTuple):
    """The result of one event: whether it was within the limit, how many more are, and when the oldest is forgotten."""

    is_within: bool
    remaining: int
    reset_in_s: float


class MovingWindow:
    """Allows `amount` events of one source in any `window_s` seconds. Setting the time of day changes nothing.

    When there are too many sources, the one that was quiet longest is forgotten. So an attacker with more networks
    than are kept may guess more often; a key has too many bits to be guessed at any rate that can be sent.

    Not thread-safe: it belongs to the event loop that answers requests.
    """

    def __init__(self, amount: int, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.amount = amount
        self._window_s = window_s
        self._clock = clock
        self._most_sources = max(_LEAST_SOURCES, _MOST_KEPT // amount)
        self._moments: OrderedDict[str, list[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._moments)

    def take(self, source: str) -> Taken:
        """Count one event, unless the limit is reached; `reset_in_s` then says when the next one is within it."""
        now = self._clock()
        recent = self._moments.setdefault(source, [])
        self._moments.move_to_end(source)
        if len(self._moments) > self._most_sources:
            self._moments.popitem(last=False)
        del recent[: bisect_right(recent, now - self._window_s)]
        is_within = len(recent) < self.amount
        if is_within:
            recent.append(now)
        return Taken(is_within, self.amount - len(recent), recent[0] + self._window_s - now)
