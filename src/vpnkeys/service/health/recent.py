"""Tells how often something happened within the last hour."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

_HOUR_S = 3600.0


@dataclass(slots=True)
class Recent:
    """Keeps when a total grew. It forgets what is older than an hour of monotonic time."""

    monotonic: Callable[[], float] = time.monotonic
    _total: int = field(default=0, init=False)
    _times: deque[float] = field(default_factory=deque, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def times(self, total: int) -> int:
        """Return by how much the total grew within the last hour, up to this look."""
        now = self.monotonic()
        with self._lock:
            self._times.extend([now] * (total - self._total))
            self._total = max(total, self._total)
            while self._times and now - self._times[0] >= _HOUR_S:
                self._times.popleft()
            return len(self._times)
