"""Serves the application below the path of its public URL too, for a proxy in front that passes that path on."""

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class BelowPrefix:
    """ASGI middleware that takes the prefix off a path; a path without it is served as it is."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path: str = scope.get("path", "")
        if path == self._prefix:
            # Relative, and "./" as the name could be taken for a scheme.
            await RedirectResponse(f"./{path.rpartition('/')[2]}/")(scope, receive, send)
            return
        if path.startswith(f"{self._prefix}/"):
            raw = scope["raw_path"].removeprefix(self._prefix.encode("ascii"))
            scope = {**scope, "path": path.removeprefix(self._prefix), "raw_path": raw}
        await self._app(scope, receive, send)
