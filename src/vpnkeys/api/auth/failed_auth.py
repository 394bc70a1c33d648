"""Wrong API keys, counted for each place they come from, in so much memory and no more."""

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_KEPT = 100_000
"""Moments of guesses that are remembered, about 12 MB of them at worst."""


class FailedAuthLimiter:
    """A moving window of `amount` guesses in `window_s` seconds for each source.

    When there are too many sources, the one that has been quiet longest is forgotten: whoever owns more networks than
    are kept is let guess a little more, and a key cannot be guessed in any number of attempts that one can send.
    """

    def __init__(self, amount: int, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._amount = amount
        self._window_s = window_s
        self._clock = clock
        self._most_sources = max(1, _MOST_KEPT // amount)
        self._moments: OrderedDict[str, list[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._moments)

    def note(self, source: str) -> float:
        """Count one guess; the seconds until there is room again, 0 when there was room for this one."""
        now = self._clock()
        recent = [moment for moment in self._moments.pop(source, ()) if moment > now - self._window_s]
        self._moments[source] = recent
        if len(self._moments) > self._most_sources:
            self._moments.popitem(last=False)
        if len(recent) >= self._amount:
            return recent[0] + self._window_s - now
        recent.append(now)
        return 0.0
