"""The clock and the waits of workers; tests replace them by ones that take no time."""

import asyncio
import threading
import time
from contextlib import suppress
from typing import Protocol


class Waiting(Protocol):
    """A monotonic clock in seconds, and waits on it."""

    def now(self) -> float:
        """Return the seconds since an arbitrary moment."""
        ...

    def wait(self, event: threading.Event, timeout_s: float) -> None:
        """Return when the event is set, or after this time."""
        ...

    async def wait_async(self, event: asyncio.Event, timeout_s: float) -> None:
        """Return when the event is set, or after this time."""
        ...


class MonotonicWaiting:
    """Waits in real time."""

    def now(self) -> float:
        """Return CLOCK_MONOTONIC, which does not count time in suspend (clock_gettime(2))."""
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> None:
        """Wait in this thread; infinity is without a limit."""
        # The standard library takes no infinity, and nothing above TIMEOUT_MAX: OverflowError.
        event.wait(timeout_s if timeout_s < threading.TIMEOUT_MAX else None)

    async def wait_async(self, event: asyncio.Event, timeout_s: float) -> None:
        """Wait in this task; infinity is without a limit."""
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout_s if timeout_s < threading.TIMEOUT_MAX else None)
