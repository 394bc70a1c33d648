"""Declares the protocol of a clock."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Gives the time of day. Injected, so that tests can set it."""

    def now(self) -> datetime:
        """Return the time in UTC, without an offset."""
        ...
