"""A cache for a pure function, sized by the arguments of the last call."""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

A = TypeVar("A", bound=Hashable)
R = TypeVar("R")


class Memo(Generic[A, R]):
    """A memo applies a pure function to collections, and keeps the results of the last collection only.

    An LRU cache of a fixed size becomes useless with one argument more than it holds: each call then removes the
    result that the next one needs. An unlimited one would keep results that are never needed again.
    """

    def __init__(self, make: Callable[[A], R]) -> None:
        self._make = make
        self._kept: dict[A, R] = {}

    def map(self, arguments: Iterable[A]) -> list[R]:
        """Return the result of each argument, in order."""
        before, kept = self._kept, {}
        results = []
        for argument in arguments:
            try:
                result = before[argument]
            except KeyError:
                result = self._make(argument)
            kept[argument] = result
            results.append(result)
        self._kept = kept  # one assignment, so that concurrent calls at worst compute a result twice
        return results
