"""Says who sent a request: a trusted user of this machine, or the caller in front of a proxy.

Requests that came by the Unix socket are marked, and need no API key. Only the server's own user and root can open that
socket. They could read the database as well, so an API key would protect nothing. The mark is a key of the ASGI scope,
which no header, path or query of a request can set.
"""

from collections.abc import Collection, Mapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from vpnkeys.domain.reached import Network, caller_of

_MARK = "vpnkeys.trusted"
_FORWARDED = b"x-forwarded-for"


class Trusted:
    """Serves an application on a listener that only trusted users can reach."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, with the mark in its scope."""
        await self._app({**scope, _MARK: True}, receive, send)


class Forwarded:
    """Serves an application behind proxies, whose X-Forwarded-For counts: `client` of the scope is the caller."""

    def __init__(self, app: ASGIApp, proxies: Collection[Network]) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if client := scope.get("client"):
            # Several headers are one list, in their order (RFC 9110, 5.3).
            said = b",".join(value for name, value in scope["headers"] if name == _FORWARDED)
            caller = caller_of(client[0], said.decode("latin-1"), self._proxies)
            scope = {**scope, "client": (caller, client[1])}
        await self._app(scope, receive, send)


def is_trusted(scope: Mapping[str, Any]) -> bool:
    """Return whether a request came by the Unix socket."""
    return scope.get(_MARK) is True
