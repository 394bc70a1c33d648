"""Ends a uvicorn server in order: requests that have begun are answered, all other connections are closed at once."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from vpnkeys.domain.errors import ServerEnding
from vpnkeys.server.problem import problem

GRACE_S = 8.0
"""How long requests have to be answered. What they change in keys ends sooner (`service/change/changer.py`)."""

_TICK_S = 1.0
_LOOK_EVERY_S = 0.02
_LINGER_S = 0.2
"""How long a client has to close its side of a connection (TLS's close_notify) after its last answer."""
_STREAM_S = 1.0
"""How long an answer that has begun has to end, such as a download."""


class EndingServer(uvicorn.Server):
    """A uvicorn server that calls `on_ending` first when it is asked to end, then the application's own `on_ending`.

    The application has it in the state of its lifespan, if there are answers that would go on for ever.
    """

    def __init__(self, config: uvicorn.Config, on_ending: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._on_ending = on_ending
        self._asked = asyncio.Event()
        self._wake: Callable[[], object] = lambda: None

    def ask_to_end(self) -> None:
        """End `serve`."""
        self.should_exit = True
        self._asked.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGTERM or SIGINT: end `serve` at once."""
        super().handle_exit(sig, frame)
        self._wake()

    async def main_loop(self) -> None:
        """Wait until it is asked to end, and renew the Date header once a second."""
        # uvicorn's own loop wakes ten times a second, and sees only then that it was asked.
        self._wake = partial(asyncio.get_running_loop().call_soon_threadsafe, self._asked.set)
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), _TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer the requests that have begun, and end all connections, within eight seconds."""
        self._on_ending()
        self.lifespan.state.get("on_ending", _nothing)()
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        began = time.monotonic()
        await self._close_idle()
        waits: dict[HttpToolsProtocol, tuple[float, float]] = {}
        cancelled: set[asyncio.Task[None]] = set()
        while self.server_state.connections or self.server_state.tasks:
            now = time.monotonic()
            for connection in self._open():
                _abort_late(connection, waits, now)
            if now - began >= GRACE_S:
                self._cancel(cancelled)
            await asyncio.sleep(_LOOK_EVERY_S)
        # As uvicorn's own `shutdown` ends, which waits for a tenth of a second in any case.
        await self.lifespan.shutdown()

    async def _close_idle(self) -> None:
        """Close the connections that are idle at once; each of the others will close after its answer."""
        idle = [one for one in self._open() if _has_nothing_to_send(one)]
        for connection in self._open():
            connection.shutdown()
        if idle:
            await asyncio.sleep(_LOOK_EVERY_S)  # TLS's close_notify is sent; the client owes nothing
        for connection in idle:
            connection.transport.abort()

    def _open(self) -> Iterator[HttpToolsProtocol]:
        yield from (one for one in list(self.server_state.connections) if isinstance(one, HttpToolsProtocol))

    def _cancel(self, cancelled: set[asyncio.Task[None]]) -> None:
        """Cancel the requests that are left, each once; `CancelledRequests` answers them."""
        for task in self.server_state.tasks - cancelled:
            task.cancel()
            cancelled.add(task)


def _nothing() -> None:
    """Do nothing."""


def _has_nothing_to_send(connection: HttpToolsProtocol) -> bool:
    """Return whether a connection is idle, and all that it has answered is with the kernel."""
    cycle: RequestResponseCycle | None = connection.cycle  # uvicorn leaves the None out
    return (cycle is None or cycle.response_complete) and not connection.transport.get_write_buffer_size()


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
