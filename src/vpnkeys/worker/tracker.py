"""Tracks and logs the progress of one worker: the part that threads and asyncio tasks share."""

import logging
from collections.abc import Callable
from dataclasses import replace

from vpnkeys.worker.job import Job, Progress, WorkerStatus, begun, failed, first, succeeded


class ProgressTracker:
    """Keeps the progress of a worker.

    The worker's own thread or task calls the methods that record a step; `wake` and `status` are for any thread. There
    is no lock: each shared value is replaced as a whole.
    """

    def __init__(self, job: Job, now: Callable[[], float]) -> None:
        self._job = job
        self._now = now
        self._log = logging.getLogger(f"{__package__}.{job.name}")
        self._progress: Progress | None = None
        self._woken_at: float | None = None
        self._at_once = False

    def start(self) -> None:
        """Start the worker's time, on the first call only."""
        self._progress = self._progress or first(self._job, self._now())

    def wake(self, *, at_once: bool) -> None:
        """Make the next step due now; `at_once` also skips the back-off after a failure."""
        self._at_once = self._at_once or at_once
        # The first wake counts: lateness is measured from when the work was first wanted.
        if self._woken_at is None:
            self._woken_at = self._now()

    def left_s(self) -> float:
        """Return the seconds until the next step; 0 or less when it is due."""
        return self._current().next_at(is_woken=self._woken_at is not None, at_once=self._at_once) - self._now()

    def begin(self) -> None:
        """Record that a step begins."""
        # Cleared before the step, not after it: a wake that comes during the step asks for another one.
        woken_at, self._woken_at, self._at_once = self._woken_at, None, False
        self._progress = begun(self._current(), woken_at)

    def succeed(self, wait_s: float | None = None) -> None:
        """Record that the step succeeded; log it when a failure was logged before. The next comes after `wait_s`."""
        before, now = self._current(), self._now()
        if before.failing_since is not None and (before.is_logged or before.is_bug_logged):
            self._log.info("%s: works again after %.1f s", self._job.name, now - before.failing_since)
        self._progress = succeeded(self._job, now, wait_s)

    def note_success(self) -> None:
        """Record a success while the step goes on; wakes until now are done with it."""
        self._woken_at, self._at_once = None, False
        self.succeed()

    def fail(self, error: BaseException) -> None:
        """Record that the step failed; log it once for each run of failures, a bug with its traceback."""
        now = self._now()
        after = failed(self._job, self._current(), now, error)
        if not isinstance(error, self._job.expected):
            if not after.is_bug_logged:
                self._log.error("%s (unexpected error): %s", self._job.failing, after.last_error, exc_info=error)
            after = replace(after, is_bug_logged=True)
        elif not after.is_logged and now - (after.failing_since or now) >= self._job.quiet_s:
            self._log.warning("%s: %s", self._job.failing, after.last_error)
            after = replace(after, is_logged=True)
        self._progress = after

    def status(self) -> WorkerStatus | None:
        """Return the worker's status; None before its start."""
        return self._progress.status(self._job, self._now(), self._woken_at) if self._progress else None

    def _current(self) -> Progress:
        return self._progress or first(self._job, self._now())
