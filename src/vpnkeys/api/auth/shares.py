"""Bounds how many requests one API key or token has at one time, where each takes something for as long as it lasts."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from vpnkeys.api.errors import TooManyRequests

_RETRY_AFTER_S = 5


class Shares:
    """Counts the requests that each identity has now, by what they ask for.

    Not thread-safe: it belongs to the event loop that answers requests.
    """

    def __init__(self) -> None:
        self._held: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def taken(self, what: str, who: str, most: int) -> Iterator[None]:
        """Count one more of this identity during the block. Raises TooManyRequests when it has the most already."""
        of_one = (what, who)
        if self._held[of_one] >= most:
            raise TooManyRequests(_RETRY_AFTER_S, f"This token has {most} of these open, the most that it may")
        self._held[of_one] += 1
        try:
            yield
        finally:
            self._held[of_one] -= 1
            if not self._held[of_one]:
                del self._held[of_one]
