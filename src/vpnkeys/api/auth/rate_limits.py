"""How often one may ask: moving windows per API key, and per address for those who guess keys."""

import math
import time
from collections.abc import Mapping
from http import HTTPStatus

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vpnkeys.api.auth.failed_auth import FailedAuthLimiter
from vpnkeys.server.connection_limits import source_of

_SCOPE_KEY = "vpnkeys.headers"


class TooManyRequests(Exception):
    """Asked too often; in `retry_after_s` seconds there is room again."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "rate_limited"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many requests; ask again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class Limits:
    """The moving windows of one server; a name without a limit in `by_name` is not limited."""

    def __init__(self, by_name: Mapping[str, str]) -> None:
        self._by_name: dict[str, RateLimitItem] = {name: parse(limit) for name, limit in by_name.items()}
        self._windows = MovingWindowRateLimiter(MemoryStorage())
        guess = self._by_name.get("guess")
        # Not in the storage above, which never forgets a name: there are more addresses than memory for them.
        self._failed_auth = FailedAuthLimiter(guess.amount, guess.get_expiry()) if guess else None

    def take(self, name: str, who: str, scope: Scope) -> None:
        """Count one request, and let its answer carry how many are left. Raises TooManyRequests."""
        limit = self._by_name.get(name)
        if limit is None:
            return
        taken = self._windows.hit(limit, name, who)
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

    def guessed_wrong(self, address: str) -> None:
        """Count a wrong API key from an address. Raises TooManyRequests when there were too many.

        Only wrong keys are counted and refused: whoever has the right one gets in, also from behind the same proxy.
        """
        if self._failed_auth is None:
            return
        retry_after_s = self._failed_auth.note(source_of(address))
        if retry_after_s > 0:
            raise TooManyRequests(max(1, math.ceil(retry_after_s)))


def _seconds_until(moment: float) -> int:
    return max(1, math.ceil(moment - time.time()))


def add_headers(scope: Scope, headers: Mapping[str, str]) -> None:
    """Let the answer to this request carry these headers, be it a success or a problem."""
    scope.setdefault(_SCOPE_KEY, {}).update(headers)


def added_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """What `add_headers` collected, as ASGI has it."""
    return [(name.lower().encode(), value.encode()) for name, value in scope.get(_SCOPE_KEY, {}).items()]


class ExtraHeaders:
    """Puts what `add_headers` collected onto the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and _SCOPE_KEY in scope:
                message = {**message, "headers": [*message.get("headers", ()), *added_headers(scope)]}
            await send(message)

        await self._app(scope, receive, send_with_headers)
