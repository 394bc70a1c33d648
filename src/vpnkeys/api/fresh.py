"""Looks at a database elsewhere before a request is answered: the event loop reads what is true, and never waits."""

from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from vpnkeys.domain.errors import Unavailable
from vpnkeys.server.pools import Pool, SharedCall

_WITHOUT = ("/ui", "/docs", "/health", "/openapi.json")
_INFO = ("/", "/api", "/api/")


class FreshReads:
    """Calls `look` in a thread before each request whose answer depends on the database; requests at once share it.

    A look that fails is no answer yet: whatever reads the database then raises its error.
    """

    def __init__(self, app: ASGIApp, look: Callable[[], None]) -> None:
        self._app = app
        self._look = SharedCall(Pool.LOOK, look)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"] not in _INFO and not scope["path"].startswith(_WITHOUT):
            with suppress(Unavailable):
                await self._look.result()
        await self._app(scope, receive, send)
