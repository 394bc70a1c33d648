"""The progress of one worker over time, with its log: what threads and asyncio tasks have in common."""

import logging
from collections.abc import Callable
from dataclasses import replace

from vpnkeys.worker.job import Job, Progress, Status, begun, failed, first, succeeded


class Course:
    """Keeps the progress of a worker. Only the worker itself writes it; `wake` and `status` are for any thread."""

    def __init__(self, job: Job, now: Callable[[], float]) -> None:
        self._job = job
        self._now = now
        self._log = logging.getLogger(f"{__package__}.{job.name}")
        self._progress: Progress | None = None
        self._woken_at: float | None = None
        self._at_once = False

    def start(self) -> None:
        """Count from now on, unless it was started before."""
        self._progress = self._progress or first(self._job, self._now())

    def wake(self, *, at_once: bool) -> None:
        """Bring the next step forward."""
        self._at_once = self._at_once or at_once
        if self._woken_at is None:
            self._woken_at = self._now()

    def left_s(self) -> float:
        """Return how long it is until the next step; 0 or less when it is due."""
        return self._present().next_at(is_woken=self._woken_at is not None, at_once=self._at_once) - self._now()

    def begin(self) -> None:
        """Note that a step begins. Whoever wakes the worker from here on wants another one."""
        woken_at, self._woken_at, self._at_once = self._woken_at, None, False
        self._progress = begun(self._present(), woken_at)

    def succeed(self, wait_s: float | None = None) -> None:
        """Note that the step succeeded; log it when the one before had failed."""
        before, now = self._present(), self._now()
        if before.failing_since is not None and (before.has_told or before.has_told_bug):
            self._log.info("%s: works again after %.1f s", self._job.name, now - before.failing_since)
        self._progress = succeeded(self._job, now, wait_s)

    def note_success(self) -> None:
        """Note that the step under way has got where it was to get; whatever it was woken for is done, too."""
        self._woken_at, self._at_once = None, False
        self.succeed()

    def fail(self, error: BaseException) -> None:
        """Note that the step failed; log it when that is new."""
        now = self._now()
        after = failed(self._job, self._present(), now, error)
        if not isinstance(error, self._job.expected):
            if not after.has_told_bug:
                self._log.error("%s (unexpected error): %s", self._job.failing, after.last_error, exc_info=error)
            after = replace(after, has_told_bug=True)
        elif not after.has_told and now - (after.failing_since or now) >= self._job.quiet_s:
            self._log.warning("%s: %s", self._job.failing, after.last_error)
            after = replace(after, has_told=True)
        self._progress = after

    def status(self) -> Status | None:
        """Return how the worker gets on; None before its start."""
        return self._progress.status(self._job, self._now(), self._woken_at) if self._progress else None

    def _present(self) -> Progress:
        return self._progress or first(self._job, self._now())
