"""What handlers ask for."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from vpnkeys.api.errors import Unauthorized
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
    of: Annotated[Server, Depends(server)],
    api_key: Annotated[str | None, Depends(_header)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    """Let nobody in without the API key; existing bots send it in either header. Raises Unauthorized."""
    given = api_key or (bearer.credentials if bearer else None)
    if given is None or not of.api_key.matches(given):
        raise Unauthorized


ServerDep = Annotated[Server, Depends(server)]
KeysDep = Annotated[KeyService, Depends(key_service)]
