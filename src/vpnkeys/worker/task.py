"""Runs a background loop as an asyncio task: in a running event loop, or in a thread with a loop of its own."""

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress

from vpnkeys.worker.job import Job, WorkerStatus
from vpnkeys.worker.thread import join
from vpnkeys.worker.tracker import ProgressTracker
from vpnkeys.worker.waiting import MonotonicWaiting, Waiting

CoroutineFunction = Callable[[], Coroutine[object, object, None]]
AsyncStep = Callable[[], Awaitable[float | None]]


class Interruptible:
    """Runs coroutines in a thread without an event loop; another thread can cancel the one that runs."""

    def __init__(self) -> None:
        self._cancel: Callable[[], object] = lambda: None

    def run(self, work: CoroutineFunction) -> None:
        """Run a coroutine to its end or until `interrupt`. Raises what it raises, but CancelledError."""
        asyncio.run(self._run(work))

    def interrupt(self) -> None:
        """Cancel the coroutine that runs now, if any. Safe from any thread."""
        with suppress(RuntimeError):  # the event loop was closed meanwhile
            self._cancel()

    async def _run(self, work: CoroutineFunction) -> None:
        running = asyncio.create_task(work())
        loop = asyncio.get_running_loop()
        # `Task.cancel` is not thread-safe, and `interrupt` comes from another thread.
        self._cancel = lambda: loop.call_soon_threadsafe(running.cancel)
        try:
            with suppress(asyncio.CancelledError):
                await running
        finally:
            self._cancel = lambda: None


class AsyncWorker:
    """Does what `Worker` does, for a step that is a coroutine.

    `run` is for a running event loop, and ends when its task is cancelled; `start` and `stop` use a thread of its own.
    SystemExit and KeyboardInterrupt are raised: asyncio passes them to the caller of the event loop, and in the main
    thread they end the program. CancelledError ends the loop only when this task was cancelled.
    """

    def __init__(self, job: Job, step: AsyncStep, waiting: Waiting | None = None) -> None:
        self.job = job
        self._step = step
        self._waiting = waiting or MonotonicWaiting()
        self._tracker = ProgressTracker(job, self._waiting.now)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._running = Interruptible()

    def start(self) -> None:
        """Start a thread with an event loop of its own; a second call and one after `stop` do nothing."""
        if self._thread is None and not self._stopping.is_set():
            self._thread = threading.Thread(target=self._run_in_thread, name=self.job.name, daemon=True)
            self._thread.start()

    def stop(self, within_s: float = math.inf) -> None:
        """Cancel the present step; return when the thread has ended, or after `within_s` or `stop_within_s`."""
        self._stopping.set()
        self._running.interrupt()
        if self._thread is not None:
            join(self._thread, min(self.job.stop_within_s, within_s))

    @property
    def is_alive(self) -> bool:
        """Return whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def status(self) -> WorkerStatus | None:
        """Return its status; None before its start."""
        return self._tracker.status()

    async def run(self) -> None:
        """Repeat the step until this task is cancelled."""
        self._tracker.start()
        while True:
            # The event is never set: this kind of worker is not woken, only cancelled.
            while (left_s := self._tracker.left_s()) > 0:
                await self._waiting.wait_async(asyncio.Event(), left_s)
            await self._take_step()

    async def _take_step(self) -> None:
        self._tracker.begin()
        try:
            wait_s = await self._step()
        except (SystemExit, KeyboardInterrupt):
            raise
        except asyncio.CancelledError as error:
            # A step may raise the CancelledError of a task that it awaited; `cancelling` tells it from our own.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._tracker.fail(error)
        except BaseException as error:  # noqa: BLE001 - no exception of a step ends the loop
            self._tracker.fail(error)
        else:
            self._tracker.succeed(wait_s)

    def _run_in_thread(self) -> None:
        while not self._stopping.is_set():
            try:
                self._running.run(self._unless_stopped)
            except BaseException as error:  # noqa: BLE001 - making the event loop failed, as without free descriptors
                self._tracker.fail(error)
                self._stopping.wait(max(self._tracker.left_s(), 0.0))

    async def _unless_stopped(self) -> None:
        if not self._stopping.is_set():  # `stop` may have come before `interrupt` had a task to cancel
            await self.run()
