"""Questions that come while one is being answered are answered together, by the next answer."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Generic, TypeVar

from anyio.to_thread import run_sync

Q = TypeVar("Q")
A = TypeVar("A")


class Together(Generic[Q, A]):
    """Lets one call of `answer`, in a thread, serve all who have asked before it begins.

    So each answer is of a moment after its question, and any number of them takes no longer than two calls.
    """

    def __init__(self, answer: Callable[[Collection[Q]], Mapping[Q, A]]) -> None:
        self._answer = answer
        self._turn = asyncio.Lock()
        self._questions: set[Q] = set()
        self._answers: asyncio.Task[Mapping[Q, A]] | None = None

    async def ask(self, question: Q) -> A:
        """The answer. Raises what the call raised, to all whom it was for."""
        self._questions.add(question)
        if self._answers is None:
            self._answers = asyncio.create_task(self._begin())
        return (await asyncio.shield(self._answers))[question]

    async def _begin(self) -> Mapping[Q, A]:
        async with self._turn:
            questions, self._questions, self._answers = self._questions, set(), None
            return await run_sync(self._answer, questions)
