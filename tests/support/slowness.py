"""What a machine with other work makes of promises that are for one at rest."""

from __future__ import annotations

import time

_WORK_S = 0.05


def slowness() -> float:
    """Return how many times as long as on a machine at rest a program takes here and now; 1 at rest."""
    began, worked = time.perf_counter(), time.thread_time()
    while time.thread_time() - worked < _WORK_S:
        pass
    return max(1.0, (time.perf_counter() - began) / _WORK_S)
