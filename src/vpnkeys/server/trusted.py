"""Marks requests that came by the Unix socket and so need no API key.

Only the server's own user and root can open that socket. They could read the database as well, so an API key would
protect nothing. The mark is a key of the ASGI scope, which no header, path or query of a request can set.
"""

from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

_MARK = "vpnkeys.trusted"


class Trusted:
    """Serves an application on a listener that only trusted users can reach."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, with the mark in its scope."""
        await self._app({**scope, _MARK: True}, receive, send)


def is_trusted(scope: Mapping[str, Any]) -> bool:
    """Return whether a request came by the Unix socket."""
    return scope.get(_MARK) is True
