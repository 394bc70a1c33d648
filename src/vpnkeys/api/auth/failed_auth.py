"""Counts wrong API keys by the network they come from, in bounded memory."""

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_KEPT = 100_000
"""How many times of wrong keys are kept in all; they take about 12 MB at most."""


class FailedAuthLimiter:
    """Allows `amount` wrong keys in any `window_s` seconds for each source.

    When there are too many sources, the one that was quiet longest is forgotten. So an attacker with more networks
    than are kept may guess more often; a key has too many bits to be guessed at any rate that can be sent.
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
        """Count one wrong key; return the seconds until another may come, 0 when this one was within the limit."""
        now = self._clock()
        recent = [moment for moment in self._moments.pop(source, ()) if moment > now - self._window_s]
        self._moments[source] = recent
        if len(self._moments) > self._most_sources:
            self._moments.popitem(last=False)
        if len(recent) >= self._amount:
            return recent[0] + self._window_s - now
        recent.append(now)
        return 0.0
