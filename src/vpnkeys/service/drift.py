"""Counts how many inbounds of config.json and of the running Xray differ from the database, for metrics."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.plan import compare, file_is_right, running_drift
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.service.report import view
from vpnkeys.worker import NEVER, Job, Worker

_EVERY_S = 30.0
_JOB = Job(
    name="drift-watch",
    failing="drift could not be counted",
    every_s=NEVER,
    first_after_s=NEVER,
    back_off_s=(_EVERY_S,),
    late_after_s=_EVERY_S,
)


@dataclass(frozen=True, slots=True)
class DriftCount:
    """Holds how many inbounds differ in config.json (`file`) and in the running Xray (`runtime`).

    A config.json that is wrong only outside of its inbounds counts as 1. `runtime` is None while Xray does not answer.
    """

    file: int
    runtime: int | None


def count_drift(reconciler: Reconciler) -> DriftCount:
    """Compare now and return the counts. Raises Unavailable."""
    keys, observed = view(reconciler)
    desired = reconciler.desired(keys)
    in_file, in_xray = compare(desired, observed.file.inbounds), running_drift(desired, observed)
    file = len(in_file.missing) + len(in_file.extra) + len(in_file.different)
    return DriftCount(
        file=file or int(not file_is_right(desired, observed.file)),
        runtime=None if in_xray is None else len(in_xray.missing) + len(in_xray.extra) + len(in_xray.different),
    )


@dataclass(slots=True)
class DriftWatch:
    """Keeps the last count of drift, so that a scrape of metrics never waits for Xray.

    While it is read regularly, the count is about half a minute old at most; while nobody reads it, nothing is counted.
    """

    reconciler: Reconciler
    clock: Callable[[], float] = time.monotonic
    worker: Worker = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _due_at: float = field(default=0.0, init=False)
    _is_counting: bool = field(default=False, init=False)
    _known: DriftCount | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Make the worker; it starts with the first call of `last`."""
        self.worker = Worker(_JOB, self._count)

    def last(self) -> DriftCount | None:
        """Return the last count, None when there is none or the last try failed; start a new count if it is old."""
        with self._lock:
            if not self._is_counting and self.clock() >= self._due_at:
                self._is_counting = True
                self.worker.start()
                self.worker.wake()
            return self._known

    def _count(self) -> None:
        found = None
        try:
            with suppress(Unavailable):  # the metrics of database and Xray already show it
                found = count_drift(self.reconciler)
        finally:
            with self._lock:
                self._known, self._is_counting, self._due_at = found, False, self.clock() + _EVERY_S
