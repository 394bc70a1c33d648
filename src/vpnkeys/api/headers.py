"""Refuses a request that sends one header twice, where a proxy and this server might each read another one."""

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from vpnkeys.api import errors

_ONCE = frozenset(
    (
        b"authorization",
        b"content-length",
        b"content-type",
        b"cookie",
        b"host",
        b"idempotency-key",
        b"x-api-key",
        b"x-csrf-token",
    )
)


class SingleHeaders:
    """Answers 400 to a request in which a header that says who asks, or what for, is there more than once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app = self._app
        if scope["type"] == "http" and (name := _repeated(scope["headers"])):
            app = errors.answer(errors.RepeatedHeader(name.decode("ascii")))
        await app(scope, receive, send)


def _repeated(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the name of a header that is there twice and may be only once; empty when there is none."""
    seen = set()
    for name, _ in headers:
        if name in _ONCE:
            if name in seen:
                return name
            seen.add(name)
    return b""
