"""The two reads that bots repeat all day, answered from bytes that are kept: one key, and all of them.

The routes of `keys.py` say what these requests mean and answer whatever is not plain: a browser's session, a wrong
token, a limit that is reached, a key that is not there. This one takes the plain case, which costs a fraction of the
framework's way (docs/adr/0012-kept-reads.md), and gives the very same bytes.
"""

from functools import lru_cache
from typing import NamedTuple, Self

from starlette.types import ASGIApp, Receive, Scope, Send

from vpnkeys.api.auth.rate_limits import Limits, added_headers
from vpnkeys.api.convert.keys import key_answer
from vpnkeys.bootstrap import Server
from vpnkeys.domain.actor import Actor, set_actor
from vpnkeys.domain.key import Key
from vpnkeys.domain.token import Scope as TokenScope
from vpnkeys.server.trusted import is_trusted
from vpnkeys.service.tokens import LOCAL, Identity

_ALL = "/api/keys"
_ONE = f"{_ALL}/"


class _Route(NamedTuple):
    """What the log and the metrics call a request."""

    path: str


class _Body(NamedTuple):
    """An answer, and the headers that go with it."""

    content: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def of(cls, content: bytes) -> Self:
        """An answer in JSON."""
        return cls(content, ((b"content-length", b"%d" % len(content)), (b"content-type", b"application/json")))


_LIST, _GET = _Route(_ALL), _Route("/api/keys/{key_id}")


class KeptReads:
    """The application, with a short way for `GET /api/keys` and `GET /api/keys/{key_id}`."""

    def __init__(self, app: ASGIApp, server: Server, limits: Limits) -> None:
        self._app = app
        self._server = server
        self._limits = limits
        self._seen: tuple[Key, ...] = ()
        self._by_name: dict[str, Key] = {}
        self._kept: dict[str, _Body] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        body = self._answer(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if body is None:
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [*body.headers, *added_headers(scope)]})
        await send({"type": "http.response.body", "body": body.content})

    def _answer(self, scope: Scope) -> _Body | None:
        """The body, or None where it takes the long way."""
        path: str = scope["path"]
        if path != _ALL and not path.startswith(_ONE):
            return None
        try:
            who = self._who(scope)
            if who is None or not who.scope.allows(TokenScope.READ) or self._server.tokens.use_is_news(who):
                return None
            body = self._body(path)
            if body is not None and not is_trusted(scope):
                self._limits.take("list" if path == _ALL else "get", who.id, scope)
        except Exception:  # noqa: BLE001 - a limit, a silent database, whatever: there it fails again, and is told
            return None
        if body is not None:
            set_actor(_actor(who.name))
            scope["route"] = _LIST if path == _ALL else _GET
        return body

    def _who(self, scope: Scope) -> Identity | None:
        """Whoever shows a right API key or token, and nothing else: the long way knows all the rest."""
        if is_trusted(scope):
            return LOCAL
        given = {name: value for name, value in scope["headers"] if name in {b"x-api-key", b"authorization"}}
        if len(given) != 1:
            return None
        ((name, value),) = given.items()
        kind, _, text = (b"bearer", b"", value) if name == b"x-api-key" else value.partition(b" ")
        return self._server.tokens.identify(text.decode("latin-1")) if kind.lower() == b"bearer" else None

    def _body(self, path: str) -> _Body | None:
        keys = self._server.keys.list()
        if keys is not self._seen:
            self._seen = keys
            self._by_name = {f"{_ONE}{name}": key for key in keys for name in (key.id, key.uuid)}
            self._kept = {}
        body = self._kept.get(path)
        if body is None and (content := self._rendered(path)) is not None:
            body = self._kept[path] = _Body.of(content)
        return body

    def _rendered(self, path: str) -> bytes | None:
        if path == _ALL:
            return b"[%s]" % b",".join(map(_json_of, self._seen))
        key = self._by_name.get(path)
        return None if key is None else _json_of(key)


@lru_cache(maxsize=1_000)
def _actor(name: str) -> Actor:
    return Actor(name, "")


def _json_of(key: Key) -> bytes:
    return key_answer(key).model_dump_json().encode()
