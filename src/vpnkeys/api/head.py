"""Answers HEAD wherever GET is answered (RFC 9110, 9.3.2), as monitors and proxies expect."""

from anyio import CancelScope
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadRequests:
    """ASGI middleware that gives HEAD the answer to GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        # A copy, because the HTTP server must go on to see HEAD: it checks that a body is as long as announced.
        inner = {**scope, "method": "GET"}
        try:
            with CancelScope() as until_it_is_answered:
                await self._app(inner, receive, _WithoutBody(send, until_it_is_answered).send)
        finally:
            if "route" in inner:
                scope["route"] = inner["route"]


class _WithoutBody:
    """Sends the beginning of an answer, and ends one that would go on for long, as a stream of events does."""

    __slots__ = ("_is_ended", "_scope", "_send")

    def __init__(self, send: Send, scope: CancelScope) -> None:
        self._send = send
        self._scope = scope
        self._is_ended = False

    async def send(self, message: Message) -> None:
        """Send one part of the answer."""
        if message["type"] != "http.response.body":
            await self._send(message)
        elif not self._is_ended:
            self._is_ended = True
            await self._send({"type": "http.response.body"})
            if message.get("more_body", False):
                self._scope.cancel()
