"""Runs what waits for disk, Xray or a client in threads: each kind of work in a few of its own.

Of the threads of quick and of slow work, nobody has all: who sends many requests waits for himself, not others for him.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field
from enum import Enum
from functools import partial, wraps
from typing import Any, Generic, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from vpnkeys.domain.actor import current_actor

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


class Pool(Enum):
    """Threads of one kind of work: how many there are, and how many of them one actor has at most."""

    # More threads compete for the interpreter's lock (measured).
    QUICK = "quick", 4, 3
    """Making and changing keys, and what else is done in milliseconds."""
    SLOW = "slow", 3, 2
    """Self-tests, plans, history, backups, repairs, and what reads all keys."""
    OPEN = "open", 2, 1
    """What is open to all: subscriptions, whose actors are the addresses that ask, and the description of the API."""
    AGENTS = "agents", 2, 1
    """Reports of nodes elsewhere: what has come during a commit is the next one."""
    LOOK = "look", 1, 1
    """The look at a database elsewhere, before a request is answered."""
    HEALTH = "health", 1, 1
    """`/health`, which must answer whatever else happens."""
    EVENTS = "events", 1, 1
    """The look for the streams of events."""

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a thread of this pool, and return its result."""
        return await self.run_for(current_actor().name, work, *args, **kwargs)

    async def run_for(self, actor: str, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same for an actor of this name; callers without a key or token are all one to `current_actor`."""
        threads = _threads.get(None)
        if threads is None:
            _threads.set(threads := _Threads())
        async with threads.turn(self, actor):
            return await to_thread.run_sync(partial(work, *args, **kwargs), limiter=threads.limiters[self])

    def wrap(self, work: Callable[P, Any]) -> Callable[P, Coroutine[Any, Any, Any]]:
        """Return a coroutine function that calls this one in a thread of the pool; one that is a coroutine stays."""
        if inspect.iscoroutinefunction(work):
            return work

        @wraps(work)
        async def in_pool(*args: P.args, **kwargs: P.kwargs) -> object:
            return await self.run(work, *args, **kwargs)

        return in_pool


@dataclass(slots=True)
class _Turns:
    """The turns of one actor in one pool; `users` have one or wait for one."""

    free: asyncio.Semaphore
    users: int = 0


@dataclass(slots=True)
class _Threads:
    """The threads of all pools in one event loop, of which tests have several."""

    limiters: dict[Pool, CapacityLimiter] = field(
        default_factory=lambda: {pool: CapacityLimiter(pool.value[1]) for pool in Pool}
    )
    turns: dict[tuple[Pool, str], _Turns] = field(default_factory=dict)

    @asynccontextmanager
    async def turn(self, pool: Pool, actor: str) -> AsyncIterator[None]:
        """Wait until this actor has fewer threads of the pool than it may, and count one more during the block."""
        of_one = (pool, actor)
        turns = self.turns.setdefault(of_one, _Turns(asyncio.Semaphore(pool.value[2])))
        turns.users += 1
        try:
            async with turns.free:
                yield
        finally:
            turns.users -= 1
            if not turns.users:
                del self.turns[of_one]


_threads: RunVar[_Threads] = RunVar("vpnkeys.pools")


class SharedCall(Generic[T]):
    """Calls a function in a thread of a pool, once for all who ask while another call is going on.

    Their call begins after each of them has asked, so that none gets what was true before.
    """

    def __init__(self, pool: Pool, work: Callable[[], T]) -> None:
        self._pool = pool
        self._work = work
        self._next: asyncio.Task[T] | None = None
        self._calling = asyncio.Lock()

    async def result(self) -> T:
        """Return what the function returns; raise what it raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._call())
        return await asyncio.shield(self._next)  # one who hangs up must not end it for the others

    async def _call(self) -> T:
        async with self._calling:
            self._next = None
            return await self._pool.run(self._work)


class Batches(Generic[T, R]):
    """Calls a function in a thread of a pool with all that has been asked for while another call was going on.

    It is called with so many at most, and returns an answer to each, or the error to raise. What is asked for `first`
    does not wait behind the others.
    """

    def __init__(self, pool: Pool, work: Callable[[Sequence[T]], Sequence[R | Exception]], most: int) -> None:
        self._pool = pool
        self._work = work
        self._most = most
        self._first: list[tuple[T, asyncio.Future[R]]] = []
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._calling: asyncio.Task[None] | None = None

    async def result(self, asked: T, *, first: bool = False) -> R:
        """Return the answer to this; raise its error, or what the function raises."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        (self._first if first else self._waiting).append((asked, answer))
        if self._calling is None:
            # In a context of its own: the call is nobody's request.
            self._calling = asyncio.create_task(self._call(), context=Context())
        return await answer

    async def _call(self) -> None:
        try:
            while waiting := [*self._first, *self._waiting]:
                batch, self._first, self._waiting = waiting[: self._most], [], waiting[self._most :]
                for (_, future), answer in zip(batch, await self._answers([asked for asked, _ in batch]), strict=True):
                    if future.done():  # who asked has hung up
                        continue
                    if isinstance(answer, Exception):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)
        finally:
            self._calling = None

    async def _answers(self, asked: Sequence[T]) -> Sequence[R | Exception]:
        try:
            return await self._pool.run(self._work, asked)
        except Exception as error:  # noqa: BLE001 - without an answer, they would wait for ever
            return [error] * len(asked)
