"""Limits the requests of each API key and the wrong keys from each address, both in moving windows."""

import math
import time
from collections.abc import Mapping

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.types import Scope

from vpnkeys.api.auth.failed_auth import FailedAuthLimiter
from vpnkeys.api.errors import TooManyRequests
from vpnkeys.server.connection_limits import source_of
from vpnkeys.server.requests import add_headers


class RateLimits:
    """Keeps the moving windows of one server; a name without a limit in `by_name` is not limited."""

    def __init__(self, by_name: Mapping[str, str]) -> None:
        self._by_name: dict[str, RateLimitItem] = {name: parse(limit) for name, limit in by_name.items()}
        self._windows = MovingWindowRateLimiter(MemoryStorage())
        guess = self._by_name.get("guess")
        # Not in the storage above, which never forgets a name: attackers have more addresses than this host has memory.
        self._failed_auth = FailedAuthLimiter(guess.amount, guess.get_expiry()) if guess else None

    def take(self, name: str, who: str, scope: Scope) -> None:
        """Count one request, and add headers to its answer that say how many are left. Raises TooManyRequests."""
        limit = self._by_name.get(name)
        if limit is None:
            return
        taken = self._windows.hit(limit, name, who)
        # Read after the hit, so that a refused request too says when the next one is allowed.
        reset_at, remaining = self._windows.get_window_stats(limit, name, who)
        add_headers(
            scope,
            {
                "X-RateLimit-Limit": str(limit.amount),
                "X-RateLimit-Remaining": str(remaining),
                "X-RateLimit-Reset": str(math.ceil(reset_at)),
            },
        )
        if not taken:
            raise TooManyRequests(_seconds_until(reset_at))

    def count_failure(self, address: str) -> None:
        """Count a wrong API key from an address. Raises TooManyRequests when there were too many.

        Only wrong keys are counted and refused: the right one is let in, also from behind the same proxy.
        """
        if self._failed_auth is None:
            return
        retry_after_s = self._failed_auth.note(source_of(address))
        if retry_after_s > 0:
            raise TooManyRequests(max(1, math.ceil(retry_after_s)))


def _seconds_until(moment: float) -> int:
    return max(1, math.ceil(moment - time.time()))
