"""Ends a uvicorn server in order: requests that have begun are answered, all other connections are closed at once."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from vpnkeys.domain.errors import ServerEnding
from vpnkeys.server.problem import problem

GRACE_S = 8.0
"""How long requests have to be answered. What they change in keys ends sooner (`service/change/changer.py`)."""

_LOOK_EVERY_S = 0.02
_LINGER_S = 0.2
"""How long a client has to close its side of a connection (TLS's close_notify) that has nothing more to answer."""
_STREAM_S = 1.0
"""How long an answer that has begun has to end: a stream of events would go on for ever."""


class EndingServer(uvicorn.Server):
    """A uvicorn server that calls `on_ending` first when it is asked to end."""

    def __init__(self, config: uvicorn.Config, on_ending: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._on_ending = on_ending

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer the requests that have begun, and end all connections, within eight seconds."""
        self._on_ending()
        for connection in self._open():
            connection.shutdown()  # closes an idle one; one that answers closes after its answer
        began = time.monotonic()
        waits: dict[HttpToolsProtocol, tuple[float, float]] = {}
        cancelled: set[asyncio.Task[None]] = set()
        while self.server_state.connections or self.server_state.tasks:
            now = time.monotonic()
            for connection in self._open():
                _abort_late(connection, waits, now)
            if now - began >= GRACE_S:
                self._cancel(cancelled)
            await asyncio.sleep(_LOOK_EVERY_S)
        await super().shutdown(sockets)

    def _open(self) -> Iterator[HttpToolsProtocol]:
        yield from (one for one in list(self.server_state.connections) if isinstance(one, HttpToolsProtocol))

    def _cancel(self, cancelled: set[asyncio.Task[None]]) -> None:
        """Cancel the requests that are left, each once; `CancelledRequests` answers them."""
        for task in self.server_state.tasks - cancelled:
            task.cancel()
            cancelled.add(task)


def _abort_late(connection: HttpToolsProtocol, waits: dict[HttpToolsProtocol, tuple[float, float]], now: float) -> None:
    """Abort a connection that has had its time in its present state; `waits` holds since when it is in which."""
    cycle: RequestResponseCycle | None = connection.cycle  # uvicorn leaves the None out
    if cycle is None or cycle.response_complete:
        patience_s = _LINGER_S
    elif cycle.response_started:
        patience_s = _STREAM_S
    else:
        waits.pop(connection, None)
        return
    since, of = waits.get(connection, (now, patience_s))
    if of != patience_s:
        since = now
    waits[connection] = since, patience_s
    if now - since >= patience_s:
        connection.transport.abort()


class CancelledRequests:
    """ASGI middleware that answers 503 to requests which are cancelled, as only a server that ends does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        has_begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except asyncio.CancelledError:
            if scope["type"] != "http" or has_begun:
                raise
            detail = (
                "The server is ending or restarting and did not finish this request. Send it again in some seconds."
            )
            refusal = problem(HTTPStatus.SERVICE_UNAVAILABLE, ServerEnding.code, detail, {"Retry-After": "5"})
            await refusal(scope, receive, send)
