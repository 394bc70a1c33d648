"""Samples traffic soon after bytes have passed, so that a crash of Xray takes few of them along."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.traffic import Carried
from vpnkeys.service.traffic import TrafficService
from vpnkeys.worker import Job, Worker

_LOOK_EVERY_S = 1.0
_REST = 10  # at most so small a part of the time goes into samples while bytes pass
_LATE_AFTER_S = 10.0


@dataclass(slots=True)
class Sampler:
    """Takes a sample a second while bytes pass, and one every `every_s` seconds while none do.

    Whether bytes pass is one question to Xray; a sample reads the counters of all keys and writes what has changed.
    """

    traffic: TrafficService
    every_s: float
    now: Callable[[], float] = time.monotonic
    worker: Worker = field(init=False)
    _look_every_s: float = field(init=False)
    _due_at: float = field(default=0.0, init=False)
    _carried: Carried | None = field(default=None, init=False)
    _was_passing: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Make the worker; nothing is sampled before it starts."""
        self._look_every_s = min(_LOOK_EVERY_S, self.every_s)
        job = Job(
            name="sampler",
            failing="traffic could not be sampled",
            every_s=self._look_every_s,
            first_after_s=self._look_every_s,
            back_off_s=(self._look_every_s,),
            # A look may fail, as while Xray restarts.
            late_after_s=2 * self.every_s + _LATE_AFTER_S,
            expected=(Unavailable,),
        )
        self.worker = Worker(job, self.step)

    def step(self) -> float:
        """Sample if bytes have passed or it is time to; return the seconds until the next look. Raises Unavailable."""
        began = self.now()
        if not self._are_bytes_passing() and began < self._due_at:
            return min(self._look_every_s, self._due_at - began)
        self.traffic.tick()
        ended = self.now()
        self._due_at = ended + self.every_s
        return min(self.every_s, max(self._look_every_s, _REST * (ended - began)))

    def _are_bytes_passing(self) -> bool:
        """Return whether Xray has carried anything since the last look, or had at the one before it.

        The second: Xray counts bytes for their user a moment after it received them, maybe after that look's sample.
        """
        carried = self.traffic.node.carried()
        are_passing = carried != self._carried
        was_passing, self._was_passing, self._carried = self._was_passing, are_passing, carried
        return are_passing or was_passing
