"""A monotonic clock on which waiting takes no time."""

import asyncio
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class FakeWaiting:
    """Keeps the promise of `vpnkeys.worker.waiting.Waiting`.

    A wait is over at once, and the clock has moved; what is due meanwhile (`at`) is done in its moment, and may set the
    event. Moments are kept in `waits` by their length.
    """

    time: float = 1000.0
    waits: list[float] = field(default_factory=list)
    due: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    def now(self) -> float:
        """The seconds so far."""
        return self.time

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Let something happen later."""
        self.due = sorted([*self.due, (self.time + seconds, action)], key=lambda one: one[0])

    def wait(self, event: threading.Event, timeout_s: float) -> None:
        """Move on, to the event's setting or to the end."""
        self._wait(event.is_set, timeout_s)

    async def wait_async(self, event: asyncio.Event, timeout_s: float) -> None:
        """Move on, to the event's setting or to the end, and let other tasks run."""
        self._wait(event.is_set, timeout_s)
        await asyncio.sleep(0)

    def _wait(self, is_set: Callable[[], bool], timeout_s: float) -> None:
        began, ends = self.time, self.time + timeout_s
        while not is_set() and self.due and self.due[0][0] <= ends:
            self.time, action = self.due.pop(0)
            action()
        if not is_set():
            assert ends < math.inf, "it waits for ever"
            self.time = ends
        self.waits.append(round(self.time - began, 6))
