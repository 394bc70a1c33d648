"""The system's clock."""

from datetime import UTC, datetime


class SystemClock:
    """A clock that reads the host's time."""

    def now(self) -> datetime:
        """Return the time in UTC, without an offset."""
        return datetime.now(UTC).replace(tzinfo=None)
