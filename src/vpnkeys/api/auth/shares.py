"""Bounds what one API key or token takes at one time of what all share: event streams, and threads for slow work."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from vpnkeys.api.errors import TooManyRequests

_RETRY_AFTER_S = 5


class Share(Enum):
    """What is bounded, the most that one identity has of it, and what an answer says of too many."""

    STREAMS = 20, "event streams are open"
    SLOW = 8, "slow requests are being answered"

    @property
    def most(self) -> int:
        """How many one identity may have at one time."""
        return self.value[0]


class Shares:
    """Counts what each identity has now.

    Not thread-safe: it belongs to the event loop that answers requests.
    """

    def __init__(self) -> None:
        self._held: Counter[tuple[Share, str]] = Counter()

    @contextmanager
    def taken(self, share: Share, who: str) -> Iterator[None]:
        """Count one more for this identity during the block. Raises TooManyRequests when it has the most already."""
        of_one = (share, who)
        if self._held[of_one] >= share.most:
            raise TooManyRequests(_RETRY_AFTER_S, f"{share.most} {share.value[1]} for this token already")
        self._held[of_one] += 1
        try:
            yield
        finally:
            self._held[of_one] -= 1
            if not self._held[of_one]:
                del self._held[of_one]
