"""Limits the size of request bodies."""

from contextlib import suppress
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vpnkeys.server.problem import problem

MAX_BODY_BYTES = 64 * 1024
_LARGER_BYTES = {"/agent/report": 2 * 1024 * 1024}
"""The limit of what may be long: a report names each key that is online or has failed (`wire/agents.py`, MOST_KEYS)."""


class TooLarge(Exception):
    """Says that the body is larger than the limit."""


class BodyLimit:
    """Refuses a body over the limit with 400, be its length announced or not, without reading it to its end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length")
        if announced is None and b"transfer-encoding" not in headers:
            await self._app(scope, receive, send)  # it has no body
            return
        most = _LARGER_BYTES.get(scope["path"], MAX_BODY_BYTES)
        if announced is not None and announced.isdigit() and int(announced) > most:
            await self._refuse(most, scope, receive, send)
            return
        seen = 0
        started = False

        async def counted_receive() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                raise TooLarge
            return message

        async def watched_send(message: Message) -> None:
            nonlocal started
            if seen > most and not started:
                return  # FastAPI takes TooLarge for a body that cannot be parsed; its answer is dropped
            started = True
            await send(message)

        with suppress(TooLarge):
            await self._app(scope, counted_receive, watched_send)
        if seen > most and not started:
            await self._refuse(most, scope, receive, send)

    @staticmethod
    async def _refuse(most: int, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"The request body is larger than {most} bytes; send less at once."
        # The rest of the body is not read, so that the connection cannot carry another request.
        answer = problem(HTTPStatus.BAD_REQUEST, "body_too_large", detail, {"Connection": "close"})
        await answer(scope, receive, send)
