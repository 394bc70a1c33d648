"""Marks requests that need no API key, because they came by the Unix socket.

The server also listens on a Unix socket that only its own user and root can open. They could read the database as
well, so an API key would protect nothing. What marks such a request is put into its scope by the application that is
served on that socket, and only there: no header, path or query of a request makes a scope's keys.
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
        """Serve one request."""
        await self._app({**scope, _MARK: True}, receive, send)


def is_trusted(scope: Mapping[str, Any]) -> bool:
    """Return whether a request came in where no API key is needed."""
    return scope.get(_MARK) is True
