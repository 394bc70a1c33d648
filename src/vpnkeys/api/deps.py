"""What handlers ask for."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from vpnkeys.api.auth.rate_limits import Limits
from vpnkeys.api.auth.sessions import COOKIE, CSRF_HEADER, Sessions
from vpnkeys.api.errors import ScopeTooSmall, Unauthorized
from vpnkeys.bootstrap import Server
from vpnkeys.domain.actor import Actor, set_actor
from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.token import Scope
from vpnkeys.server.trusted import is_trusted
from vpnkeys.service.keys import KeyService
from vpnkeys.service.tokens import LOCAL, Identity

_header = APIKeyHeader(name="X-API-Key", auto_error=False)
_bearer = HTTPBearer(auto_error=False)

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


async def server(request: Request) -> Server:
    """The server behind this app."""
    found: Server = request.app.state.server
    return found


async def key_service(request: Request) -> KeyService:
    """The use cases about keys."""
    found: Server = request.app.state.server
    return found.keys


async def identity(
    request: Request,
    api_key: Annotated[str | None, Depends(_header)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Identity:
    """Who asks, and answers for what is done from here on. Existing bots send the API key in either header.

    Raises Unauthorized, and TooManyRequests for an address that sends wrong keys again and again.
    """
    of: Server = request.app.state.server
    who = _identify(request, of, api_key or (bearer.credentials if bearer else None))
    if of.tokens.use_is_news(who):
        asyncio.get_running_loop().run_in_executor(None, _note_use, of, who)
    request.state.identity = who
    set_actor(Actor(who.name, _origin(request), getattr(request.state, "request_id", "")))
    return who


def _identify(request: Request, of: Server, given: str | None) -> Identity:
    if is_trusted(request.scope):
        return LOCAL
    if given is None:
        return _signed_in(request, of)
    return recognised(request, of, given)


def recognised(request: Request, of: Server, given: str) -> Identity:
    """Whose API key or token this is. Raises Unauthorized, and TooManyRequests for whoever guesses."""
    who = of.tokens.identify(given)
    if who is None:
        limits: Limits = request.app.state.limits
        limits.guessed_wrong(request.client.host if request.client else "")
        raise Unauthorized
    return who


def _signed_in(request: Request, of: Server) -> Identity:
    """Whose browser this is. Only a page of ours knows the CSRF token, so that no other site changes anything."""
    sessions: Sessions = request.app.state.sessions
    session = sessions.find(request.cookies.get(COOKIE))
    who = of.tokens.renew(session.identity) if session else None
    if session is None or who is None:
        raise Unauthorized
    if request.method not in _SAFE_METHODS and not session.allows(request.headers.get(CSRF_HEADER)):
        raise Unauthorized
    return who


def _note_use(of: Server, who: Identity) -> None:
    with suppress(StoreUnavailable):  # the next use is noted then
        of.tokens.note_use(who)


def _origin(request: Request) -> str:
    if is_trusted(request.scope):
        return "unix socket"
    return request.client.host if request.client else ""


def needs(scope: Scope) -> Callable[[Identity], Awaitable[None]]:
    """A dependency that lets nobody in without the API key or a token of this scope, except by the Unix socket."""

    async def require(who: Annotated[Identity, Depends(identity)]) -> None:
        if not who.scope.allows(scope):
            raise ScopeTooSmall(scope, who.scope)

    return require


def limited(name: str) -> Callable[[Request], Awaitable[None]]:
    """A dependency that lets this route be asked only so often, per API key or token; on the Unix socket always.

    It belongs behind `needs`, which tells whose request it is.
    """

    async def take(request: Request) -> None:
        limits: Limits = request.app.state.limits
        if not is_trusted(request.scope):
            limits.take(name, request.state.identity.id, request.scope)

    return take


reading = Depends(needs(Scope.READ))
changing_keys = Depends(needs(Scope.KEYS))
administering = Depends(needs(Scope.ADMIN))

KeyId = Annotated[str, Path(description="the key's id or its UUID")]
ServerDep = Annotated[Server, Depends(server)]
KeysDep = Annotated[KeyService, Depends(key_service)]
IdentityDep = Annotated[Identity, Depends(identity)]
