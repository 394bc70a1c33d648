"""Tells whether calls that timed out can still take effect: a hanging Xray carries them out later."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

QUIET_S = 2.0
"""Longer than any call waits (1.2 s): once Xray has answered for so long, it has no old call left to carry out."""

_FIRST_LOOK_S = 0.1


@dataclass(slots=True)
class LateCalls:
    """Tells whether the running Xray may still carry out a call that timed out.

    At first it may, because an earlier life of this service may have made one; not so where Xray is our child
    (`is_child`), which ends with the service. A new process of Xray has no old calls.
    """

    clock: Callable[[], float] = time.monotonic
    is_child: bool = False
    _life: str = field(default="", init=False)
    _answering_since: float | None = field(default=None, init=False)

    def timed_out(self) -> None:
        """Note that a call was not answered."""
        self._answering_since = None

    def heard(self, life: str, *, as_expected: bool) -> None:
        """Note that Xray answered, in which epoch (life of its process), and whether it ran what was expected."""
        if self._life != life and (self._life or self.is_child):
            self._answering_since = float("-inf")
        elif self._answering_since is None or not (as_expected or self.are_over()):
            # Something unexpected may be the effect of an old call, so the wait begins again.
            self._answering_since = self.clock()
        self._life = life

    def are_over(self) -> bool:
        """Return whether no old call can take effect any more: Xray has answered, as expected, for `QUIET_S`."""
        return self._answering_since is not None and self.clock() - self._answering_since >= QUIET_S

    def look_again_in(self) -> float | None:
        """Return after how many seconds to look next, each time later; None when that is not needed."""
        if self._answering_since is None or self.are_over():
            return None
        return max(_FIRST_LOOK_S, self.clock() - self._answering_since)
