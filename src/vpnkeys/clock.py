"""The time of day."""

from datetime import UTC, datetime


class SystemClock:
    """The host's clock."""

    def now(self) -> datetime:
        """UTC, without an offset."""
        return datetime.now(UTC).replace(tzinfo=None)
