"""How far config.json and the running Xray are from the database, in numbers, for whoever looks often."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.plan import compare, file_is_right, running_drift
from vpnkeys.service.reconcile import Reconciler
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
    """How many inbounds differ. A config.json that is wrong in other respects counts as one.

    `runtime` is None while Xray does not answer.
    """

    file: int
    runtime: int | None


def count_drift(reconciler: Reconciler) -> DriftCount:
    """Compare now. Raises Unavailable."""
    with reconciler.changing:
        desired = reconciler.desired(reconciler.stops.keys())
        observed = reconciler.node.observe()
    in_file, in_xray = compare(desired, observed.file.inbounds), running_drift(desired, observed)
    file = len(in_file.missing) + len(in_file.extra) + len(in_file.different)
    return DriftCount(
        file=file or int(not file_is_right(desired, observed.file)),
        runtime=None if in_xray is None else len(in_xray.missing) + len(in_xray.extra) + len(in_xray.different),
    )


@dataclass(slots=True)
class DriftWatch:
    """Knows the drift of half a minute ago at most, for those who keep asking, and lets nobody wait for it."""

    reconciler: Reconciler
    clock: Callable[[], float] = time.monotonic
    worker: Worker = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _due_at: float = field(default=0.0, init=False)
    _looking: bool = field(default=False, init=False)
    _known: DriftCount | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Nothing is looked at before somebody asks."""
        self.worker = Worker(_JOB, self._look)

    def last(self) -> DriftCount | None:
        """What was seen last, None when that could not be told; if it is old, somebody goes and looks."""
        with self._lock:
            if not self._looking and self.clock() >= self._due_at:
                self._looking = True
                self.worker.start()
                self.worker.wake()
            return self._known

    def _look(self) -> None:
        found = None
        try:
            with suppress(Unavailable):  # which other metrics tell
                found = count_drift(self.reconciler)
        finally:
            with self._lock:
                self._known, self._looking, self._due_at = found, False, self.clock() + _EVERY_S
