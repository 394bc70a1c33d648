"""Gives every request an id, logs it and counts it, as plain ASGI in front of the framework."""

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vpnkeys.domain.actor import SERVER, current_actor, set_actor

_log = logging.getLogger("vpnkeys.access")

REQUEST_ID_HEADER = "X-Request-ID"
_HEADER = REQUEST_ID_HEADER.lower().encode()
_ADDED = "vpnkeys.headers"
_NO_STORE = (b"cache-control", b"no-store")
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")

UNMATCHED = "unmatched"
"""The route label of a request without a matching route, with a method that its route does not have, or refused before
its route was known. So no caller makes more series than there are routes."""

_READS = frozenset({"GET", "HEAD"})
_METHODS = _READS | {"DELETE", "OPTIONS", "PATCH", "POST", "PUT"}

_current: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """Return the id of the request that is being answered in this task or thread; empty when there is none."""
    return _current.get()


def add_headers(scope: Scope, headers: Mapping[str, str]) -> None:
    """Add headers to the answer to this request, also to an error."""
    scope[_ADDED] += [(name.lower().encode(), value.encode()) for name, value in headers.items()]


class Served(NamedTuple):
    """A request and how it ended; 499 when the caller hung up first.

    `route` is the route's template, not the path, which holds ids and tokens. `duration_s` is
    the time until the answer began.
    """

    method: str
    route: str
    status: int
    duration_s: float


class LogRateLimiter:
    """A token bucket for the log lines of one kind of request: `at_once` lines, refilled with `per_s` a second.

    A flood of requests must not fill the disk or rotate other lines out of the log. The metrics count every request.
    """

    def __init__(self, kind: str, at_once: int, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.kind = kind
        self._at_once = at_once
        self._per_s = per_s
        self._clock = clock
        self._left = float(at_once)
        self._seen_at = clock()
        self._dropped = 0

    def take(self) -> bool:
        """Return whether one more line may be written; where not, count it as dropped."""
        now = self._clock()
        self._left = min(self._at_once, self._left + (now - self._seen_at) * self._per_s)
        self._seen_at = now
        if self._left < 1:
            self._dropped += 1
            return False
        self._left -= 1
        return True

    def dropped(self) -> int:
        """Return how many lines were dropped since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped


class AccessLog:
    """ASGI middleware that logs and counts requests, and adds to every answer X-Request-ID and how it may be stored.

    A caller's own id is kept when it has up to 64 letters, digits, dots, dashes and underscores: any other could forge
    log lines.
    """

    def __init__(self, app: ASGIApp, on_served: Callable[[Served], None]) -> None:
        self._app = app
        self._on_served = on_served
        self._unauthenticated = LogRateLimiter("unauthenticated requests", at_once=100, per_s=10)
        self._reads = LogRateLimiter("reads", at_once=1000, per_s=50)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Once, for all who read them: spaces around a value are no part of it (RFC 9110, 5.5), and llhttp leaves them.
        scope["headers"] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        request_id = _id_of(scope)
        _current.set(request_id)  # uvicorn runs each request in a task of its own, so there is nothing to reset
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id)
        scope[_ADDED] = answer.headers
        set_actor(SERVER)  # until the caller is authenticated
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            # The error handler has logged and answered it; raised further, uvicorn would log it again.
            if not answer.is_whole:
                raise
        finally:
            self._log(scope, answer)

    def _log(self, scope: Scope, answer: "_Answer") -> None:
        method, route = _labels(scope)
        # The client hung up before an answer: 499, nginx's status for that.
        served = Served(method, route, answer.status or 499, answer.duration_s())
        self._on_served(served)
        limiter = self._limiter_of(served)
        if limiter is not None and not limiter.take():
            return
        for limited in (self._unauthenticated, self._reads):
            if dropped := limited.dropped():
                _log.info("%d more %s were answered, without a line each", dropped, limited.kind)
        _log.info("%s %s %d in %.1f ms", method, route, served.status, served.duration_s * 1000, extra=_fields(served))

    def _limiter_of(self, served: Served) -> LogRateLimiter | None:
        """Return the rate limiter of a request's line; None for changes and refusals of an authenticated caller."""
        if current_actor() is SERVER:
            return self._unauthenticated
        return self._reads if served.method in _READS and served.status < HTTPStatus.BAD_REQUEST else None


class _Answer:
    """Sends an answer with its added headers, and keeps its status and times for the log."""

    __slots__ = ("_began", "_send", "_started", "headers", "is_whole", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._began = time.perf_counter()
        self._started = 0.0
        self.headers = [(_HEADER, request_id.encode("ascii"))]
        self.status = 0
        self.is_whole = False

    async def send(self, message: Message) -> None:
        """Send one part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._started = time.perf_counter()
            headers = [*message.get("headers", ()), *self.headers]
            # Most answers hold secrets, so none is stored by browsers or proxies unless it says how.
            if all(name != b"cache-control" for name, _ in headers):
                headers.append(_NO_STORE)
            message = {**message, "headers": headers}
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self.is_whole = True
        await self._send(message)

    def duration_s(self) -> float:
        """Return the seconds until the answer began; until now when it has not."""
        return (self._started or time.perf_counter()) - self._began


def _id_of(scope: Scope) -> str:
    """Return the caller's own id where it is acceptable, else a new one: 16 hex digits."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    for name, value in headers:
        if name == _HEADER and _SANE.fullmatch(given := value.decode("latin-1")):
            return given
    return secrets.token_hex(8)


def _labels(scope: Scope) -> tuple[str, str]:
    """Return the method and the route of a request, for the log and the metrics: of each a closed set."""
    method, route = scope["method"], scope.get("route")
    served_as = "GET" if method == "HEAD" else method
    path = route.path if route is not None and served_as in (route.methods or ()) else UNMATCHED
    return method if method in _METHODS else "OTHER", path


def _fields(served: Served) -> dict[str, object]:
    """Return the fields of the JSON log line, with the actor when the caller was authenticated."""
    fields: dict[str, object] = {
        "method": served.method,
        "route": served.route,
        "status": served.status,
        "duration_ms": round(served.duration_s * 1000, 1),
    }
    actor = current_actor()
    return {"fields": fields if actor is SERVER else {**fields, "actor": actor.name}}
