"""A background loop in an asyncio task: in an event loop that is there, or in a thread with its own."""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress

from vpnkeys.worker.course import Course
from vpnkeys.worker.job import Job, Status
from vpnkeys.worker.thread import join
from vpnkeys.worker.waiting import MonotonicWaiting, Waiting

CoroutineFunction = Callable[[], Coroutine[object, object, None]]
AsyncStep = Callable[[], Awaitable[float | None]]


class Interruptible:
    """Runs coroutines in a thread that is no event loop's; another thread can break the present one off."""

    def __init__(self) -> None:
        self._cancel: Callable[[], object] = lambda: None

    def run(self, work: CoroutineFunction) -> None:
        """Return when it has ended or was broken off. Raises what it raises."""
        asyncio.run(self._run(work))

    def interrupt(self) -> None:
        """Break off what runs now, if anything does."""
        with suppress(RuntimeError):  # its event loop has ended already
            self._cancel()

    async def _run(self, work: CoroutineFunction) -> None:
        running = asyncio.create_task(work())
        loop = asyncio.get_running_loop()
        self._cancel = lambda: loop.call_soon_threadsafe(running.cancel)
        try:
            with suppress(asyncio.CancelledError):
                await running
        finally:
            self._cancel = lambda: None


class AsyncWorker:
    """Makes the promises of `Worker` for a step that is a coroutine.

    `run` is for an event loop that is there, and ends when its task is cancelled. `start` and `stop` are for a thread
    of its own. SystemExit and KeyboardInterrupt pass: asyncio hands them to whoever runs the event loop, and in the
    main thread they are meant for it. CancelledError ends the loop only when its own task was asked to end.
    """

    def __init__(self, job: Job, step: AsyncStep, waiting: Waiting | None = None) -> None:
        self.job = job
        self._step = step
        self._waiting = waiting or MonotonicWaiting()
        self._course = Course(job, self._waiting.now)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._running = Interruptible()

    def start(self) -> None:
        """Begin, in a thread with an event loop of its own."""
        if self._thread is None and not self._stopping.is_set():
            self._thread = threading.Thread(target=self._run_in_thread, name=self.job.name, daemon=True)
            self._thread.start()

    def stop(self, within_s: float = math.inf) -> None:
        """Break off the step under way and what it has started; return when that has ended or its time is up."""
        self._stopping.set()
        self._running.interrupt()
        if self._thread is not None:
            join(self._thread, min(self.job.stop_within_s, within_s))

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def status(self) -> Status | None:
        """Return how it gets on; None before its start."""
        return self._course.status()

    async def run(self) -> None:
        """Repeat the step until this task is cancelled."""
        self._course.start()
        while True:
            while (left_s := self._course.left_s()) > 0:
                await self._waiting.wait_async(asyncio.Event(), left_s)
            await self._take_step()

    async def _take_step(self) -> None:
        self._course.begin()
        try:
            wait_s = await self._step()
        except (SystemExit, KeyboardInterrupt):
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._course.fail(error)
        except BaseException as error:  # noqa: BLE001 - no other one ends it
            self._course.fail(error)
        else:
            self._course.succeed(wait_s)

    def _run_in_thread(self) -> None:
        while not self._stopping.is_set():
            try:
                self._running.run(self._unless_stopped)
            except BaseException as error:  # noqa: BLE001 - the event loop itself: out of files, say
                self._course.fail(error)
                self._stopping.wait(max(self._course.left_s(), 0.0))

    async def _unless_stopped(self) -> None:
        if not self._stopping.is_set():  # `stop` may have come before there was anything to break off
            await self.run()
