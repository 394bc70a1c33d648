"""The schedule and the status of a background loop, as values and pure functions without a thread or a clock.

All times are seconds of a monotonic clock, so that setting the time of day neither hurries nor delays a step.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

WAKE_FLOOR_S: Final = 1.0
"""The least wait after a failure when the worker is woken: every request may wake it while Xray does not answer."""

NEVER: Final = math.inf

BackOff = tuple[float, ...]
"""Seconds to wait after the first, the second, … failure in a row; the last one repeats."""


@dataclass(frozen=True, slots=True)
class Job:
    """Describes a worker's schedule and its messages.

    A step that succeeds is followed by the next after `every_s` (NEVER: when the worker is woken), unless it returns
    another wait. `back_off_s` follows one that fails; `back_offs_s` has other waits for some classes of exceptions.

    `failing` is the log's text for the state in which steps fail. Exceptions of the classes `expected` are logged
    without a traceback, and only when they have lasted for `quiet_s`; all others are bugs. The worker is late when a
    step has been due for `late_after_s` without a success. A stop waits up to `stop_within_s` for the present step.
    """

    name: str
    failing: str
    every_s: float
    back_off_s: BackOff
    late_after_s: float
    first_after_s: float = 0.0
    back_offs_s: Mapping[type[Exception], BackOff] = field(default_factory=dict)
    expected: tuple[type[Exception], ...] = ()
    quiet_s: float = 0.0
    stop_within_s: float = 5.0

    def waits_after(self, error: BaseException) -> BackOff:
        """Return the waits for this failure: those of its nearest class in `back_offs_s`, else `back_off_s`."""
        return next((self.back_offs_s[kind] for kind in _classes(error) if kind in self.back_offs_s), self.back_off_s)


def _classes(error: BaseException) -> tuple[type[Exception], ...]:
    return tuple(kind for kind in type(error).__mro__ if issubclass(kind, Exception))


class WorkerStatus(NamedTuple):
    """The status of one worker at the time of the call.

    `last_success_age_s` is None before the first success. `failing_for_s` is None, and `last_error` empty, unless the
    last step failed.
    """

    name: str
    last_success_age_s: float | None
    late_after_s: float
    is_late: bool
    failing_for_s: float | None
    last_error: str


@dataclass(frozen=True, slots=True)
class Progress:
    """The results of a worker's steps so far.

    `ended_at` is when the last step ended, `wait_s` the wait after it, `due_at` when a success was due. `failures`
    counts those in a row with the same list of waits. `is_logged` and `is_bug_logged`: a failure that lasts is logged
    once.
    """

    ended_at: float
    wait_s: float
    due_at: float
    succeeded_at: float | None = None
    failing_since: float | None = None
    last_error: str = ""
    waits: BackOff = ()
    failures: int = 0
    is_logged: bool = False
    is_bug_logged: bool = False

    @property
    def is_failing(self) -> bool:
        """Return whether the last step failed."""
        return self.failing_since is not None

    def next_at(self, *, is_woken: bool, at_once: bool) -> float:
        """Return the time of the next step."""
        if at_once:
            return self.ended_at
        if is_woken:
            return self.ended_at + min(self.wait_s, WAKE_FLOOR_S if self.is_failing else 0.0)
        return self.ended_at + self.wait_s

    def status(self, job: Job, now: float, woken_at: float | None) -> WorkerStatus:
        """Return the status at `now`. A wake makes a step due from then on."""
        due_at = self.due_at if woken_at is None else min(self.due_at, woken_at)
        return WorkerStatus(
            name=job.name,
            last_success_age_s=None if self.succeeded_at is None else now - self.succeeded_at,
            late_after_s=job.late_after_s,
            is_late=now - due_at > job.late_after_s,
            failing_for_s=None if self.failing_since is None else now - self.failing_since,
            last_error=self.last_error,
        )


def first(job: Job, now: float) -> Progress:
    """Return the progress of a worker that starts now."""
    return Progress(ended_at=now, wait_s=job.first_after_s, due_at=now + job.first_after_s)


def begun(progress: Progress, woken_at: float | None) -> Progress:
    """Return the progress with a step begun; if it was woken, a success is due since the wake."""
    return progress if woken_at is None else replace(progress, due_at=min(progress.due_at, woken_at))


def succeeded(job: Job, now: float, wait_s: float | None) -> Progress:
    """Return the progress after a step that succeeded; the next comes after `wait_s`, or the job's `every_s`."""
    wait_s = job.every_s if wait_s is None else wait_s
    return Progress(ended_at=now, wait_s=wait_s, due_at=now + wait_s, succeeded_at=now)


def failed(job: Job, progress: Progress, now: float, error: BaseException) -> Progress:
    """Return the progress after a step that failed; `due_at` stays, so that lateness counts from the first failure."""
    waits = job.waits_after(error)
    # A failure of another kind, with waits of its own, begins with its first wait.
    failures = progress.failures + 1 if waits == progress.waits else 1
    return replace(
        progress,
        ended_at=now,
        wait_s=waits[min(failures, len(waits)) - 1],
        due_at=min(progress.due_at, now),
        failing_since=now if progress.failing_since is None else progress.failing_since,
        last_error=describe(error),
        waits=waits,
        failures=failures,
    )


def describe(error: BaseException) -> str:
    """Return an exception's text; its class name when the text is empty or `__str__` raises."""
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001 - a broken __str__ may raise anything
        return type(error).__name__
