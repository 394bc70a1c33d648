"""Calls that timed out may be carried out later: a hanging Xray has them in its queue, and goes on where it stopped."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

QUIET_S = 2.0
"""Longer than any call waits for its answer: when Xray has answered for so long, nothing is left in its queue."""

_SOONEST_S = 0.1


@dataclass(slots=True)
class LateCalls:
    """Tells whether a call that timed out may still be carried out by the running Xray.

    At first it may: one of an earlier life of this service. Calls die with the life of Xray that they were made to.
    """

    clock: Callable[[], float] = time.monotonic
    _life: str = field(default="", init=False)
    _answering_since: float | None = field(default=None, init=False)

    def timed_out(self) -> None:
        """A call was not answered."""
        self._answering_since = None

    def heard(self, life: str, *, as_expected: bool) -> None:
        """Xray answered in this life of its process, and what it runs was as expected, or was not."""
        if self._life not in {"", life}:
            self._answering_since = float("-inf")
        elif self._answering_since is None or not (as_expected or self.are_over()):
            self._answering_since = self.clock()
        self._life = life

    def are_over(self) -> bool:
        """Return whether Xray has been heard, as expected, for long enough."""
        return self._answering_since is not None and self.clock() - self._answering_since >= QUIET_S

    def look_again_in(self) -> float | None:
        """Return after how many seconds to look next: at longer and longer intervals, None when they are over."""
        if self._answering_since is None or self.are_over():
            return None
        return max(_SOONEST_S, self.clock() - self._answering_since)
