"""One HTTP connection that cannot keep a place, memory or the log busy by being slow, endless or senseless."""

from enum import Enum, auto
from http import HTTPStatus
from typing import Any

from httptools import HttpParserError
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vpnkeys.server.connection_limits import Connection, ConnectionLimiter
from vpnkeys.server.onewrite import OneWrite
from vpnkeys.server.problem import problem

MAX_HEAD_BYTES = 32 * 1024
MAX_HEADERS = 100

_MOST_PIPELINED = 16
_CLOSE = {"Connection": "close"}


class Stage(Enum):
    """What a connection waits for."""

    HEAD = auto()
    BODY = auto()
    UNWANTED_BODY = auto()
    """The answer went out before the body had come; the client may read it in peace."""
    TAKING = auto()
    """The client leaves too much of the answer lying."""
    IDLE = auto()
    ANSWERING = auto()
    """The only one in which it waits for us."""


LIMITS_S = {
    Stage.HEAD: 10.0,
    Stage.BODY: 30.0,  # the largest body that is taken needs 17 kbit/s
    Stage.UNWANTED_BODY: 2.0,
    Stage.TAKING: 30.0,
    Stage.IDLE: 40.0,  # uvicorn says goodbye after 5 s, and TLS gives the client 30 s to take what is on its way
}
"""How long the client may let us wait."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's, with limits on time, on a request's head, and on requests that are sent ahead.

    llhttp, which parses, has no limits of its own on a head or on what may come between the chunks of a body.
    """

    def __init__(self, connection: Connection, limiter: ConnectionLimiter, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*args, **kwargs)
        self._guest = connection
        self._guests = limiter
        self._stage = Stage.HEAD
        self._head_begun = True
        self._body_awaited = False
        self._head_bytes = 0
        self._unread_bytes = 0
        self._refusal: Response | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvloop's own
        """Wait for the first request."""
        super().connection_made(transport)
        self.transport = OneWrite(transport, self.loop)
        self._guest.hang_up = transport.abort
        self._guests.wait_for(self._guest, LIMITS_S[Stage.HEAD])

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._guests.leave(self._guest)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and count what the parser keeps to itself: a line without end reaches none of its callbacks."""
        if not self._body_awaited:
            self._head_begun = True
        self._unread_bytes += len(data)
        super().data_received(data)
        if self._unread_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(_head_too_large())
        self._tell()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or after the body a trailer, of a request."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES or len(self.headers) >= MAX_HEADERS:
            self._refusal = _head_too_large()
            raise HttpParserError("head too large")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start answering."""
        if len(self.pipeline) >= _MOST_PIPELINED:
            raise HttpParserError("too many requests sent ahead")
        self._unread_bytes = self._head_bytes = 0
        self._head_begun = False
        self._body_awaited = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand on a part of the body."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request is here."""
        self._unread_bytes = self._head_bytes = 0
        self._body_awaited = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It is the client's turn again, unless it has sent the next request already."""
        super().on_response_complete()
        self._tell()

    def pause_writing(self) -> None:
        """The client does not take what it asked for."""
        super().pause_writing()
        self._tell()

    def resume_writing(self) -> None:
        """It takes it."""
        super().resume_writing()
        self._tell()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be parsed. uvicorn calls this from within the parser's exception."""
        self._refuse(self._refusal or problem(HTTPStatus.BAD_REQUEST, "not_http", msg, _CLOSE))

    def _refuse(self, answer: Response) -> None:
        if not self._is_answered():
            self.transport.abort()  # an answer is on its way, and another one must not be mixed into it
            return
        head = b"".join(b"%s: %s\r\n" % header for header in answer.raw_headers)
        status = HTTPStatus(answer.status_code)
        line = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
        self.transport.write(line + head + b"\r\n" + bytes(answer.body))
        self.transport.close()

    def _tell(self) -> None:
        stage = self._now()
        if stage is self._stage:
            return
        self._stage = stage
        if stage is Stage.ANSWERING:
            self._guests.serve(self._guest)
        else:
            self._guests.wait_for(self._guest, LIMITS_S[stage])

    def _now(self) -> Stage:
        answered = self._is_answered()
        if self.flow.write_paused:
            return Stage.TAKING
        if self._body_awaited:
            return Stage.UNWANTED_BODY if answered else Stage.BODY
        if not answered:
            return Stage.ANSWERING
        return Stage.HEAD if self._head_begun else Stage.IDLE

    def _is_answered(self) -> bool:
        return bool(getattr(self.cycle, "response_complete", True))  # there is none before the first request


def _head_too_large() -> Response:
    detail = f"The head of a request may have {MAX_HEADERS} headers and {MAX_HEAD_BYTES} bytes."
    return problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", detail, _CLOSE)
