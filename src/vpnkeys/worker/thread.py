"""A background loop in a thread of its own, and an ordered group of them."""

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

from vpnkeys.worker.course import Course
from vpnkeys.worker.job import Job, Status
from vpnkeys.worker.waiting import MonotonicWaiting, Waiting

_log = logging.getLogger(__name__)

_STOP_WITHIN_S = 8.0
_MOMENT_S = 0.05

Step = Callable[[], float | None]
"""One step: returns how long to wait for the next, None for the usual time. It fails by raising."""


class Worker:
    """Repeats a step from `start` to `stop`, once each: when its time comes, and when it is woken.

    No exception ends it, of whatever class. Not even SystemExit and KeyboardInterrupt, which are for the main thread:
    signals are handled there, and in any other thread SystemExit would end the loop without a word.

    `interrupt` is called by `stop`, so that a step that waits for something comes to its end.
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
        self._course = Course(job, self._waiting.now)
        self._wakened = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, in the background; a second call and one after `stop` do nothing."""
        if self._thread is None and not self.is_stopping:
            self._course.start()
            # A daemon: one that does not come to its end must not keep the process from ending.
            self._thread = threading.Thread(target=self.run, name=self.job.name, daemon=True)
            self._thread.start()

    def wake(self, *, at_once: bool = False) -> None:
        """Let the next step be now. After a failure it keeps the back-off, up to a second of it, unless `at_once`."""
        self._course.wake(at_once=at_once)
        self._wakened.set()

    def stop(self, within_s: float = math.inf) -> None:
        """End after the step under way; return when it has ended or its time is up, the job's own or this one."""
        self._stopping.set()
        self._wakened.set()
        if self._thread is None:
            return
        try:
            self._interrupt()
        except Exception as error:  # noqa: BLE001 - those that are to be stopped after this one still are
            _log.error("%s could not be interrupted", self.job.name, exc_info=error)
        join(self._thread, min(self.job.stop_within_s, within_s))

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called, for steps that go on for long."""
        return self._stopping.is_set()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def note_success(self) -> None:
        """Let the step under way count as a success already: it lasts as long as what it looks after."""
        self._course.note_success()

    def status(self) -> Status | None:
        """Return how it gets on; None before its start."""
        return self._course.status()

    def run(self) -> None:
        """Repeat the step until `stop`, in this thread."""
        self._pause()
        while not self.is_stopping:
            self._take_step()
            self._pause()

    def _take_step(self) -> None:
        self._course.begin()
        try:
            wait_s = self._step()
        except BaseException as error:  # noqa: BLE001 - see the class
            self._course.fail(error)
        else:
            self._course.succeed(wait_s)

    def _pause(self) -> None:
        while True:
            self._wakened.clear()  # before looking: what is set after that is seen by the wait
            left_s = self._course.left_s()
            if self.is_stopping or left_s <= 0:
                return
            self._waiting.wait(self._wakened, left_s)


def join(thread: threading.Thread, within_s: float) -> None:
    """Return when the thread has ended, or after this time, which is logged."""
    thread.join(within_s)
    if thread.is_alive():
        _log.warning("%s did not end within %.1f s and is left behind", thread.name, within_s)


class Stoppable(Protocol):
    """A worker of either kind."""

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self, within_s: float = math.inf) -> None:
        """End, within this time or its own bound."""
        ...

    def status(self) -> Status | None:
        """Return how it gets on; None before its start."""
        ...


class Workers:
    """The workers of a server, each of which may lean on those before it.

    They start in order and stop in reverse. Those that are introduced have somebody else who starts and stops them;
    here they only tell how they get on.
    """

    def __init__(self) -> None:
        self._own: tuple[Stoppable, ...] = ()
        self._others: tuple[Stoppable, ...] = ()

    def add(self, *workers: Stoppable) -> None:
        """Let these start after those that are there, and stop before them."""
        self._own += workers

    def introduce(self, *others: Stoppable) -> None:
        """Let these tell how they get on, too."""
        self._others += others

    def start(self) -> None:
        """Start them in order."""
        for worker in self._own:
            worker.start()

    def stop(self, within_s: float = _STOP_WITHIN_S) -> None:
        """Stop them in reverse order; each is joined before the one that it leans on is asked to end.

        All of them together take this long at most, and a moment each: one that hangs uses up the time of others.
        """
        ends_at = time.monotonic() + within_s
        for worker in reversed(self._own):
            worker.stop(max(ends_at - time.monotonic(), _MOMENT_S))

    def statuses(self) -> tuple[Status, ...]:
        """Return how each one gets on that was started."""
        found = (worker.status() for worker in (*self._others, *self._own))
        return tuple(status for status in found if status is not None)
