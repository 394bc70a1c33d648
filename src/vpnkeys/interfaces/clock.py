"""The promise of a clock."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The time of day."""

    def now(self) -> datetime:
        """UTC, without an offset."""
        ...
