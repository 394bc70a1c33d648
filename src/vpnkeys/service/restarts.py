"""Remembers the last restart of Xray that was asked for, so that requests in a row share one."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

_SHARED_FOR_S = 5.0
"""Bots call this path twice for each key that they sell, and every restart ends all customers' connections."""


@dataclass(slots=True)
class Restarts:
    """Decides whether a request has to restart Xray. With `only_needed`, a request alone is no reason to."""

    only_needed: bool = False
    monotonic: Callable[[], float] = time.monotonic
    names: frozenset[str] = field(default=frozenset(), init=False)
    _epoch: str = field(default="", init=False)
    _at: float = field(default=0.0, init=False)

    def note(self, epoch: str, names: frozenset[str]) -> None:
        """Note that Xray was restarted just now; `names` are the server names that worked before."""
        self._epoch, self._at, self.names = epoch, self.monotonic(), names

    def can_share(self, epoch: str) -> bool:
        """Return whether this Xray may stay, as far as it runs what it should."""
        return self.only_needed or (epoch == self._epoch and self.monotonic() - self._at < _SHARED_FOR_S)
