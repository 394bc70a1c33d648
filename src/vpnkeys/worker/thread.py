"""Runs a background loop in a thread, and starts and stops a group of them in order."""

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

from vpnkeys.worker.job import Job, WorkerStatus
from vpnkeys.worker.tracker import ProgressTracker
from vpnkeys.worker.waiting import MonotonicWaiting, Waiting

_log = logging.getLogger(__name__)

_STOP_WITHIN_S = 8.0
_LEAST_JOIN_S = 0.05

Step = Callable[[], float | None]
"""One step: returns the seconds until the next one, None for the job's `every_s`. It fails by raising."""


class Worker:
    """Repeats a step from `start` to `stop`: when its time comes, and when the worker is woken.

    No exception ends it, SystemExit and KeyboardInterrupt included: Python handles signals in the main thread, and in
    any other thread SystemExit would end the loop without a log line.

    `stop` calls `interrupt`, which has to make a step that waits return.
    """

    def __init__(
        self,
        job: Job,
        step: Step,
        interrupt: Callable[[], None] = lambda: None,
        waiting: Waiting | None = None,
    ) -> None:
        self.job = job
        self._step = step
        self._interrupt = interrupt
        self._waiting = waiting or MonotonicWaiting()
        self._tracker = ProgressTracker(job, self._waiting.now)
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; a second call and one after `stop` do nothing."""
        if self._thread is None and not self.is_stopping:
            self._tracker.start()
            # A daemon: Python waits at exit for all other threads, and a step may hang.
            self._thread = threading.Thread(target=self.run, name=self.job.name, daemon=True)
            self._thread.start()

    def wake(self, *, at_once: bool = False) -> None:
        """Take the next step now. After a failure it comes after the back-off or a second, unless `at_once`."""
        self._tracker.wake(at_once=at_once)
        self._woken.set()

    def stop(self, within_s: float = math.inf) -> None:
        """End after the present step; return when the thread has ended, or after `within_s` or `stop_within_s`."""
        self._stopping.set()
        self._woken.set()
        if self._thread is None:
            return
        try:
            self._interrupt()
        except Exception as error:  # noqa: BLE001 - the workers after this one are stopped all the same
            _log.error("%s could not be interrupted", self.job.name, exc_info=error)
        join(self._thread, min(self.job.stop_within_s, within_s))

    @property
    def is_stopping(self) -> bool:
        """Return whether `stop` was called; long steps look at this."""
        return self._stopping.is_set()

    @property
    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def note_success(self) -> None:
        """Record a success while the step goes on, for one that lasts as long as the process that it supervises."""
        self._tracker.note_success()

    def status(self) -> WorkerStatus | None:
        """Return its status; None before its start."""
        return self._tracker.status()

    def run(self) -> None:
        """Repeat the step until `stop`, in this thread."""
        # A wait comes first: the job says when its first step is due (`first_after_s`).
        self._pause()
        while not self.is_stopping:
            self._take_step()
            self._pause()

    def _take_step(self) -> None:
        self._tracker.begin()
        try:
            wait_s = self._step()
        except BaseException as error:  # noqa: BLE001 - see the class
            self._tracker.fail(error)
        else:
            self._tracker.succeed(wait_s)

    def _pause(self) -> None:
        while True:
            self._woken.clear()  # before the schedule is read: a wake after that ends the wait
            left_s = self._tracker.left_s()
            if self.is_stopping or left_s <= 0:
                return
            self._waiting.wait(self._woken, left_s)


def join(thread: threading.Thread, within_s: float) -> None:
    """Wait up to `within_s` for the thread to end; log it when it has not."""
    thread.join(within_s)
    if thread.is_alive():
        _log.warning("%s did not end within %.1f s; its thread is left running", thread.name, within_s)


class Stoppable(Protocol):
    """A worker of either kind."""

    def start(self) -> None:
        """Start it."""
        ...

    def stop(self, within_s: float = math.inf) -> None:
        """Stop it; return within this time or its own bound."""
        ...

    def status(self) -> WorkerStatus | None:
        """Return its status; None before its start."""
        ...


class Workers:
    """The workers of a server, each of which may need those before it.

    They start in order and stop in reverse. Workers that are `introduce`d are started and stopped elsewhere; here they
    only report their status.
    """

    def __init__(self) -> None:
        self._own: tuple[Stoppable, ...] = ()
        self._others: tuple[Stoppable, ...] = ()

    def add(self, *workers: Stoppable) -> None:
        """Add workers, which start after those added before and stop before them."""
        self._own += workers

    def introduce(self, *others: Stoppable) -> None:
        """Add workers whose status is reported only."""
        self._others += others

    def start(self) -> None:
        """Start the workers in order."""
        for worker in self._own:
            worker.start()

    def stop(self, within_s: float = _STOP_WITHIN_S) -> None:
        """Stop the workers in reverse order; each is joined before the one that it needs is stopped.

        All of them have `within_s`, and each at least 0.05 s: one that hangs uses up the time of the others.
        """
        ends_at = time.monotonic() + within_s
        for worker in reversed(self._own):
            worker.stop(max(ends_at - time.monotonic(), _LEAST_JOIN_S))

    def statuses(self) -> tuple[WorkerStatus, ...]:
        """Return the status of each worker that was started."""
        found = (worker.status() for worker in (*self._others, *self._own))
        return tuple(status for status in found if status is not None)
