"""When the steps of a background loop come, and how it gets on: plain values, without a thread and without a clock.

All times are seconds of a monotonic clock: somebody who sets the time of day neither hurries nor delays a step.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

WAKE_FLOOR_S: Final = 1.0
"""A step that failed is not repeated sooner when the worker is woken: many may wake it while what it needs is away."""

NEVER: Final = math.inf

BackOff = tuple[float, ...]
"""The waits after the first, the second, … failure in a row; the last one for ever."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker does, and when.

    A step that succeeds is followed by the next after `every_s` (NEVER: when the worker is woken), unless it returns
    another wait. `back_off_s` follows one that fails; `back_offs_s` has other waits for some classes of exceptions.

    `failing` says what is true while steps fail, for the log. `expected` are the exceptions that are no bugs: they are
    logged without a traceback, and only after they have gone on for `quiet_s`. The worker is late when a step that was
    due has not succeeded for `late_after_s`. A stop waits for the step under way for `stop_within_s` at most.
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
        """Return the waits for this failure: those of its nearest class that has its own, else the usual ones."""
        return next((self.back_offs_s[kind] for kind in _classes(error) if kind in self.back_offs_s), self.back_off_s)


def _classes(error: BaseException) -> tuple[type[Exception], ...]:
    return tuple(kind for kind in type(error).__mro__ if issubclass(kind, Exception))


class Status(NamedTuple):
    """How one worker gets on, at the moment of asking. `last_error` is empty and `failing_for_s` None when it is well.

    `last_success_age_s` is None before the first success.
    """

    name: str
    last_success_age_s: float | None
    late_after_s: float
    is_late: bool
    failing_for_s: float | None
    last_error: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What has become of a worker's steps so far.

    `ended_at` is when the last one ended, `wait_s` what it is followed by, and `due_at` the time from which a success
    is missing. `failures` counts those in a row that were followed by the same list of waits. `has_told` and
    `has_told_bug` keep a failure that goes on from being logged again.
    """

    ended_at: float
    wait_s: float
    due_at: float
    succeeded_at: float | None = None
    failing_since: float | None = None
    last_error: str = ""
    waits: BackOff = ()
    failures: int = 0
    has_told: bool = False
    has_told_bug: bool = False

    @property
    def is_failing(self) -> bool:
        """Whether the last step failed."""
        return self.failing_since is not None

    def next_at(self, *, is_woken: bool, at_once: bool) -> float:
        """Return when the next step comes."""
        if at_once:
            return self.ended_at
        if is_woken:
            return self.ended_at + min(self.wait_s, WAKE_FLOOR_S if self.is_failing else 0.0)
        return self.ended_at + self.wait_s

    def status(self, job: Job, now: float, woken_at: float | None) -> Status:
        """Return how the worker gets on. Being woken makes a step due."""
        due_at = self.due_at if woken_at is None else min(self.due_at, woken_at)
        return Status(
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
    """Return the progress with a step begun: what it was woken for is due since then."""
    return progress if woken_at is None else replace(progress, due_at=min(progress.due_at, woken_at))


def succeeded(job: Job, now: float, wait_s: float | None) -> Progress:
    """Return the progress after a step that succeeded, and is followed by this wait or by the usual one."""
    wait_s = job.every_s if wait_s is None else wait_s
    return Progress(ended_at=now, wait_s=wait_s, due_at=now + wait_s, succeeded_at=now)


def failed(job: Job, progress: Progress, now: float, error: BaseException) -> Progress:
    """Return the progress after a step that failed. Its success is missing since it was due."""
    waits = job.waits_after(error)
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
    """Return what an exception says; the name of its class when it says nothing, or fails even at that."""
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001 - any class may come here, also one with a broken __str__
        return type(error).__name__
