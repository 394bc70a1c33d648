"""The system's clock."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(slots=True)
class SystemClock:
    """A clock that reads the host's time.

    `ahead` is by how much that is known to be wrong: a node counts by its control plane's time.
    """

    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        """Return the time in UTC, without an offset."""
        return self.host_time() - self.ahead

    @staticmethod
    def host_time() -> datetime:
        """Return the host's time in UTC, without an offset, as it is."""
        return datetime.now(UTC).replace(tzinfo=None)
