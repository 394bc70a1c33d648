"""Results that are kept for the next time, as many as there are arguments now."""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

A = TypeVar("A", bound=Hashable)
R = TypeVar("R")


class Memo(Generic[A, R]):
    """A pure function over whole collections, which remembers the results of the last collection alone.

    An LRU cache of a fixed size fails all at once when there is one argument more than it holds: each call then pushes
    out what the next one asks for. One without a size would keep what nobody asks for any more.
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
        self._kept = kept  # in one step: two threads lose time at worst
        return results
