"""Limits on one HTTP connection: time for each stage, size of a request's head, and requests sent ahead."""

import re
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

# uvicorn stops reading once a request is queued, but one read may hold thousands of small ones.
_MOST_PIPELINED = 16
_VERSIONS = frozenset({"1.0", "1.1"})
_CLOSE = {"Connection": "close"}
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST")
_REQUEST_LINE = re.compile(rb"(?P<method>[!#$%&'*+.^_`|~0-9A-Za-z-]+) [!-~]+ HTTP/1\.[01]\r?\n")  # RFC 9112, 3
_OF_AGENTS = b"/agent/"
AGENT_IDLE_S = 20
"""How long an agent's connection stays open without a request: it reports every ten seconds, and a handshake for each
report costs more than the report. Other connections are closed after uvicorn's five."""


class Stage(Enum):
    """What a connection is doing; in all stages but ANSWERING the server waits for the client."""

    HEAD = auto()
    BODY = auto()
    UNWANTED_BODY = auto()
    """The answer was sent before the whole body had come. Closing at once could reset the answer (RFC 9112, 9.6)."""
    TAKING = auto()
    """The client does not read its answer: the write buffer is over its high-water mark."""
    IDLE = auto()
    ANSWERING = auto()
    """The client waits for the server."""


LIMITS_S = {
    Stage.HEAD: 10.0,
    Stage.BODY: 30.0,  # the largest body that is accepted, 64 KiB, needs 17 kbit/s
    Stage.UNWANTED_BODY: 2.0,
    Stage.TAKING: 30.0,
    Stage.IDLE: 40.0,  # uvicorn closes after 5 s without a request, and the TLS shutdown may take the client 30 s
}
"""Seconds that the client may take in each stage."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with limits on time, on a request's head and on pipelined requests.

    llhttp, its parser, has no limit on the size of a head, nor on what stands between the chunks of a body.
    """

    def __init__(self, connection: Connection, limiter: ConnectionLimiter, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*args, **kwargs)
        self._connection = connection
        self._limiter = limiter
        self._stage = Stage.HEAD
        self._head_begun = True
        self._body_awaited = False
        self._head_bytes = 0
        self._unread_bytes = 0
        self._refusal: Response | None = None
        self._last = b""

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvloop's own
        """Wait for the first request."""
        super().connection_made(transport)
        # After uvicorn's own set-up: its flow control keeps the bare transport, which is what pauses and resumes.
        self.transport = OneWrite(transport, self.loop)
        self._connection.hang_up = transport.abort
        self._limiter.wait_for(self._connection, LIMITS_S[Stage.HEAD])

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection's slot in the limiter."""
        self._limiter.leave(self._connection)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the bytes, and count those for which the parser called back nothing, such as a line without an end."""
        if not self._body_awaited:
            self._head_begun = True
        self._unread_bytes += len(data)
        self._last = data
        super().data_received(data)
        if self._unread_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(_head_too_large())
        self._last = b""  # a thousand agents keep their connections, and each has sent a report
        self._report_stage()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header to the request, and forget a trailer. Raises HttpParserError when they are too many.

        uvicorn adds trailers to the headers of a request whose handler has not begun: when they come in one packet with
        the head. What a proxy in front has checked and added are headers only (RFC 9110, 6.5.1).
        """
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES or len(self.headers) >= MAX_HEADERS:
            self._refusal = _head_too_large()
            raise HttpParserError("head too large")
        if not self._body_awaited:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request's handler. Raises HttpParserError for a head that two servers may understand differently.

        It is also raised when too many requests were sent ahead.
        """
        version = self.parser.get_http_version()
        hosts = sum(name == b"host" for name, _ in self.headers)
        # RFC 9112, 3.2: what a proxy in front took as the host must not be another one here.
        if version not in _VERSIONS or hosts > 1 or (version == "1.1" and not hosts):
            raise HttpParserError("not one host, or another version")
        if len(self.pipeline) >= _MOST_PIPELINED:
            raise HttpParserError("too many requests sent ahead")
        self._unread_bytes = self._head_bytes = 0
        self._head_begun = False
        self._body_awaited = True
        if self.url.startswith(_OF_AGENTS):
            self.timeout_keep_alive = AGENT_IDLE_S
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body to the handler."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request's body: from here on the client waits for the server."""
        self._unread_bytes = self._head_bytes = 0
        self._body_awaited = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it has come already."""
        super().on_response_complete()
        self._report_stage()

    def pause_writing(self) -> None:
        """Start the time limit for a client that does not read its answer."""
        super().pause_writing()
        self._report_stage()

    def resume_writing(self) -> None:
        """End that time limit: the client reads again."""
        super().resume_writing()
        self._report_stage()

    def send_400_response(self, msg: str) -> None:
        """Answer 400 or 405 to bytes that cannot be parsed; uvicorn calls this on the parser's exception."""
        self._refuse(self._refusal or _unparsed(self._last, msg))

    def _refuse(self, answer: Response) -> None:
        if not self._is_answered():
            self.transport.abort()  # another answer may be half sent, and this one would be read as part of it
            return
        if self._body_awaited:
            self.transport.close()  # this request has its answer; another one would be taken for that of the next
            return
        # Written by hand: there is no parsed request, and so no ASGI cycle that could send the answer.
        head = b"".join(b"%s: %s\r\n" % header for header in answer.raw_headers)
        status = HTTPStatus(answer.status_code)
        line = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
        self.transport.write(line + head + b"\r\n" + bytes(answer.body))
        self.transport.close()

    def _report_stage(self) -> None:
        stage = self._current_stage()
        if stage is self._stage:
            return
        self._stage = stage
        if stage is Stage.ANSWERING:
            self._limiter.serve(self._connection)
        else:
            self._limiter.wait_for(self._connection, LIMITS_S[stage])

    def _current_stage(self) -> Stage:
        answered = self._is_answered()
        # First: a paused answer may belong to an earlier request while the next one is arriving.
        if self.flow.write_paused:
            return Stage.TAKING
        if self._body_awaited:
            return Stage.UNWANTED_BODY if answered else Stage.BODY
        if not answered:
            return Stage.ANSWERING
        return Stage.HEAD if self._head_begun else Stage.IDLE

    def _is_answered(self) -> bool:
        return bool(getattr(self.cycle, "response_complete", True))  # no cycle exists before the first request


def _head_too_large() -> Response:
    detail = f"The head of a request may have {MAX_HEADERS} headers and {MAX_HEAD_BYTES} bytes."
    return problem(HTTPStatus.BAD_REQUEST, "head_too_large", detail, _CLOSE)


def _unparsed(data: bytes, why: str) -> Response:
    """Return the answer to bytes that the parser refused: its list of methods is closed, HTTP's is not."""
    line = _REQUEST_LINE.match(data)
    if line is None or line["method"].decode() in _METHODS:
        return problem(HTTPStatus.BAD_REQUEST, "not_http", why, _CLOSE)
    allow = {**_CLOSE, "Allow": ", ".join(_METHODS)}
    return problem(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", "There is no such method here.", allow)
