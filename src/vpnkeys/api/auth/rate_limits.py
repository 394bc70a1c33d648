"""Limits the requests of each API key and the wrong keys from each address, both in moving windows."""

import math
import time
from collections.abc import Mapping
from types import MappingProxyType

from starlette.types import Scope

from vpnkeys.api.auth.moving_window import MovingWindow, Taken
from vpnkeys.api.errors import TooManyRequests
from vpnkeys.domain.limits.source import source_of
from vpnkeys.server.requests import add_headers

_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}


class RateLimits:
    """Keeps the moving windows of one server; a name without a limit in `by_name` is not limited."""

    def __init__(self, by_name: Mapping[str, str]) -> None:
        self._by_name = {name: _window(limit) for name, limit in by_name.items()}

    def take(self, name: str, who: str, scope: Scope) -> None:
        """Count one request, and add headers to its answer that say how many are left. Raises TooManyRequests."""
        window = self._by_name.get(name)
        if window is None:
            return
        taken = window.take(who)
        add_headers(scope, _told(window, taken))
        if not taken.is_within:
            raise _refusal(taken.reset_in_s)

    def count_failure(self, address: str) -> None:
        """Count a wrong API key from an address. Raises TooManyRequests when there were too many.

        Only wrong keys are counted and refused: the right one is let in, also from behind the same proxy.
        """
        window = self._by_name.get("guess")
        if window is None:
            return
        taken = window.take(source_of(address))
        if not taken.is_within:
            raise _refusal(taken.reset_in_s, _told(window, taken))


def _window(limit: str) -> MovingWindow:
    """Return the window of a limit such as `5/minute`."""
    amount, _, unit = limit.partition("/")
    return MovingWindow(int(amount), _SECONDS[unit])


def _told(window: MovingWindow, taken: Taken) -> dict[str, str]:
    """Return the headers that say how many requests are left."""
    return {
        "X-RateLimit-Limit": str(window.amount),
        "X-RateLimit-Remaining": str(taken.remaining),
        # Clients read a time of day here; the server itself waits by the monotonic clock only.
        "X-RateLimit-Reset": str(math.ceil(time.time() + taken.reset_in_s)),
    }


def _refusal(retry_after_s: float, told: Mapping[str, str] = MappingProxyType({})) -> TooManyRequests:
    return TooManyRequests(max(1, math.ceil(retry_after_s)), headers=told)
