"""What handlers ask for."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from vpnkeys.api.errors import Unauthorized
from vpnkeys.api.limits import Limits
from vpnkeys.api.trusted import is_trusted
from vpnkeys.bootstrap import Server
from vpnkeys.service.keys import KeyService

_header = APIKeyHeader(name="X-API-Key", auto_error=False)
_bearer = HTTPBearer(auto_error=False)


async def server(request: Request) -> Server:
    """The server behind this app."""
    found: Server = request.app.state.server
    return found


async def key_service(of: Annotated[Server, Depends(server)]) -> KeyService:
    """The use cases about keys."""
    return of.keys


async def require_api_key(
    request: Request,
    of: Annotated[Server, Depends(server)],
    api_key: Annotated[str | None, Depends(_header)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    """Let nobody in without the API key, except by the Unix socket; existing bots send it in either header.

    Raises Unauthorized, and TooManyRequests for an address that sends wrong keys again and again.
    """
    if is_trusted(request.scope):
        return
    given = api_key or (bearer.credentials if bearer else None)
    if given is None or not of.api_key.matches(given):
        limits: Limits = request.app.state.limits
        if given is not None:
            limits.guessed_wrong(request.client.host if request.client else "")
        raise Unauthorized


def limited(name: str) -> Callable[[Request], Awaitable[None]]:
    """A dependency that lets this route be asked only so often, per API key; without limit where none is needed."""

    async def take(request: Request) -> None:
        limits: Limits = request.app.state.limits
        # There is one API key, so that one window is everybody's.
        if not is_trusted(request.scope):
            limits.take(name, "api-key", request.scope)

    return take


KeyId = Annotated[str, Path(description="the key's id or its UUID")]
ServerDep = Annotated[Server, Depends(server)]
KeysDep = Annotated[KeyService, Depends(key_service)]
