"""How workers wait; tests have another way, which takes no time."""

import asyncio
import threading
import time
from contextlib import suppress
from typing import Protocol


class Waiting(Protocol):
    """A monotonic clock, and waits on it."""

    def now(self) -> float:
        """Return the seconds since some moment."""
        ...

    def wait(self, event: threading.Event, timeout_s: float) -> None:
        """Return when the event is set, or after this time."""
        ...

    async def wait_async(self, event: asyncio.Event, timeout_s: float) -> None:
        """Return when the event is set, or after this time."""
        ...


class MonotonicWaiting:
    """Real time."""

    def now(self) -> float:
        """Return the host's monotonic clock."""
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> None:
        """Wait in this thread. Infinity is a wait without an end, which the standard library spells None."""
        event.wait(timeout_s if timeout_s < threading.TIMEOUT_MAX else None)

    async def wait_async(self, event: asyncio.Event, timeout_s: float) -> None:
        """Wait in this task."""
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout_s if timeout_s < threading.TIMEOUT_MAX else None)
