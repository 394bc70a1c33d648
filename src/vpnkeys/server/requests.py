"""Every request gets an id, one line in the log, and its place in the metrics."""

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from http import HTTPStatus
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vpnkeys.domain.actor import SERVER, current_actor, set_actor

_log = logging.getLogger("vpnkeys.access")

REQUEST_ID_HEADER = "X-Request-ID"
_HEADER = REQUEST_ID_HEADER.lower().encode()
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")

UNMATCHED = "unmatched"
"""The route of a request that was for none of ours, or was refused before that was known."""

_READS = frozenset({"GET", "HEAD"})
_METHODS = _READS | {"DELETE", "OPTIONS", "PATCH", "POST", "PUT"}

_current: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """The id of the request that is being answered in this task or thread; empty when it is none."""
    return _current.get()


class Served(NamedTuple):
    """A request that was answered.

    `route` is the route's template, never the path: ids and tokens stay out. `duration_s` lasts until the answer began.
    """

    method: str
    route: str
    status: int
    duration_s: float


class Lines:
    """How many lines are written for requests of one kind: some at once, then a few each second.

    Whoever floods the server must not fill its disk, nor push out of its log what matters. The metrics count every
    request.
    """

    def __init__(self, kind: str, at_once: int, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.kind = kind
        self._at_once = at_once
        self._per_s = per_s
        self._clock = clock
        self._left = float(at_once)
        self._seen_at = clock()
        self._untold = 0

    def take(self) -> bool:
        """Whether there is a line for one more."""
        now = self._clock()
        self._left = min(self._at_once, self._left + (now - self._seen_at) * self._per_s)
        self._seen_at = now
        if self._left < 1:
            self._untold += 1
            return False
        self._left -= 1
        return True

    def untold(self) -> int:
        """For how many there was none since this was last asked."""
        untold, self._untold = self._untold, 0
        return untold


class Requests:
    """The application, with an id on every answer, also on those to errors of ours.

    A caller's own id is kept when it is one: up to 64 letters, digits, dots, dashes and underscores.
    """

    def __init__(self, app: ASGIApp, on_served: Callable[[Served], None]) -> None:
        self._app = app
        self._on_served = on_served
        self._strangers = Lines("requests of nobody known", at_once=100, per_s=10)
        self._reads = Lines("reads", at_once=1000, per_s=50)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _id_of(scope)
        _current.set(request_id)  # for the rest of the task, which is this request's own
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id)
        set_actor(SERVER)  # until somebody is recognised; who asked before on this connection is nobody now
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            # It was traced and answered; raised further, it would be traced once more.
            if not answer.is_whole:
                raise
        finally:
            self._tell(scope, answer)

    def _tell(self, scope: Scope, answer: "_Answer") -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route = getattr(scope.get("route"), "path", None) or UNMATCHED
        # Whoever went away before there was an answer was told nothing: 499, as proxies write it.
        served = Served(method, route, answer.status or 499, answer.duration_s())
        self._on_served(served)
        lines = self._lines_for(served)
        if lines is not None and not lines.take():
            return
        for brief in (self._strangers, self._reads):
            if untold := brief.untold():
                _log.info("%d more %s were answered, too many to be told one by one", untold, brief.kind)
        _log.info("%s %s %d in %.1f ms", method, route, served.status, served.duration_s * 1000, extra=_fields(served))

    def _lines_for(self, served: Served) -> Lines | None:
        """Who has to be brief; nobody who changes something, and nobody who is refused though he is known."""
        if current_actor() is SERVER:
            return self._strangers
        return self._reads if served.method in _READS and served.status < HTTPStatus.BAD_REQUEST else None


class _Answer:
    """Sends an answer, and remembers what there is to tell of it."""

    __slots__ = ("_began", "_request_id", "_send", "_started", "is_whole", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id.encode("ascii")
        self._began = time.perf_counter()
        self._started = 0.0
        self.status = 0
        self.is_whole = False

    async def send(self, message: Message) -> None:
        """One part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._started = time.perf_counter()
            message = {**message, "headers": [*message.get("headers", ()), (_HEADER, self._request_id)]}
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self.is_whole = True
        await self._send(message)

    def duration_s(self) -> float:
        """How long the answer took to begin, or takes so far."""
        return (self._started or time.perf_counter()) - self._began


def _id_of(scope: Scope) -> str:
    """The caller's own id where it is sane, else a new one: 16 hex digits."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    for name, value in headers:
        if name == _HEADER and _SANE.fullmatch(given := value.decode("latin-1")):
            return given
    return secrets.token_hex(8)


def _fields(served: Served) -> dict[str, object]:
    """What the log's JSON tells by name. The actor is known once somebody was recognised."""
    fields: dict[str, object] = {
        "method": served.method,
        "route": served.route,
        "status": served.status,
        "duration_ms": round(served.duration_s * 1000, 1),
    }
    actor = current_actor()
    return {"fields": fields if actor is SERVER else {**fields, "actor": actor.name}}
