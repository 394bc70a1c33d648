"""Runs what waits for disk, Xray or a client in threads: each kind of work in a few of its own.

What is quick, such as making a key, uses anyio's default threads, for which nothing slow can make it wait.
"""

import inspect
from collections.abc import Callable, Coroutine
from enum import Enum
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

QUICK_THREADS = 4
"""Handlers that wait for disk or Xray run in threads; more of them compete for the interpreter's lock (measured)."""

P = ParamSpec("P")
T = TypeVar("T")

_limiters: RunVar[dict["Pool", CapacityLimiter]] = RunVar("vpnkeys.pools")


class Pool(Enum):
    """Threads of one kind of work; the value is how many there are."""

    SLOW = "slow", 3
    """Self-tests, plans, history, backups, repairs, and what reads all keys."""
    HEALTH = "health", 1
    """`/health`, which is open to all and must answer whatever else happens."""
    CUSTOMERS = "customers", 2
    """Subscriptions."""
    EVENTS = "events", 1
    """The look for the streams of events."""

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a thread of this pool, and return its result."""
        return await to_thread.run_sync(partial(work, *args, **kwargs), limiter=self._limiter())

    def wrap(self, work: Callable[P, Any]) -> Callable[P, Coroutine[Any, Any, Any]]:
        """Return a coroutine function that calls this one in a thread of the pool; one that is a coroutine stays."""
        if inspect.iscoroutinefunction(work):
            return work

        @wraps(work)
        async def in_pool(*args: P.args, **kwargs: P.kwargs) -> object:
            return await self.run(work, *args, **kwargs)

        return in_pool

    def _limiter(self) -> CapacityLimiter:
        # A limiter belongs to one event loop; tests have several.
        limiters = _limiters.get(None)
        if limiters is None:
            _limiters.set(limiters := {pool: CapacityLimiter(pool.value[1]) for pool in Pool})
        return limiters[self]
