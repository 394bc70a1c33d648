"""What starts with a `with` statement, and is closed after it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Started(ABC):
    """A part of a test that starts with the block and is closed after it, also when its start fails half-way."""

    __slots__ = ()

    @abstractmethod
    def start(self) -> None:
        """Start, and wait until it can be used."""

    @abstractmethod
    def close(self) -> None:
        """Give back everything that has been taken."""

    def __enter__(self) -> Self:
        """Start; what fails to start is closed."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()
