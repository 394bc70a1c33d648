"""Tells whether calls that timed out can still take effect: a hanging Xray carries them out later."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

QUIET_S = 2.0
"""Longer than any call waits (1.2 s): once Xray has answered for so long, it has no old call left to carry out."""

_FIRST_LOOK_S = 0.1


@dataclass(slots=True)
class LateCalls:
    """Tells whether the running Xray may still carry out a call that timed out.

    At first it may, because an earlier run of this service may have made one; not so where Xray is our child
    (`is_child`), which ends with the service. A new process of Xray has no old calls, unless the last call that timed
    out was made to it.
    """

    clock: Callable[[], float] = time.monotonic
    is_child: bool = False
    _epoch: str = field(default="", init=False)
    _answering_since: float | None = field(default=None, init=False)
    _called: str = field(default="", init=False)
    _adds: frozenset[str] = field(default=frozenset(), init=False)

    def timed_out(self, epoch: str = "", adds: Iterable[str] = ()) -> None:
        """Note that a call was not answered; a change names the epoch it was made in, and the tags it would add."""
        if self.are_over():
            self._adds = frozenset()
        self._adds |= {*adds}
        self._called = epoch or self._called
        self._answering_since = None

    def may_add(self, tags: Iterable[str]) -> bool:
        """Return whether a call that timed out may still add one of these tags."""
        return not self.are_over() and not self._adds.isdisjoint(tags)

    def heard(self, epoch: str, *, as_expected: bool) -> None:
        """Note that Xray answered, in which epoch, and whether it ran what was expected."""
        if epoch not in {self._epoch, self._called} and (self._epoch or self.is_child):
            self._answering_since = float("-inf")
        elif self._answering_since is None or not (as_expected or self.are_over()):
            # Something unexpected may be the effect of an old call, so the wait begins again.
            self._answering_since = self.clock()
        self._epoch = epoch

    def are_over(self) -> bool:
        """Return whether no old call can take effect any more: Xray has answered, as expected, for `QUIET_S`."""
        return self._answering_since is not None and self.clock() - self._answering_since >= QUIET_S

    def look_again_in(self) -> float | None:
        """Return after how many seconds to look next, each time later; None when that is not needed."""
        if self._answering_since is None or self.are_over():
            return None
        return max(_FIRST_LOOK_S, self.clock() - self._answering_since)
