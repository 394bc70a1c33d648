"""`/api/tokens`: who may ask this API for what."""

from datetime import datetime
from typing import TypeAlias

from pydantic import TypeAdapter

from vpnkeys.client._fields import in_utc
from vpnkeys.client._http import Http, path_below
from vpnkeys.wire.tokens import Me, Scope, Token, TokenMade

_PATH = "/api/tokens"


TokenList: TypeAlias = list[Token]  # a name that `Tokens.list` does not hide

_TOKEN_LIST = TypeAdapter(TokenList)


class Tokens:
    """Who may ask for what. All but `me` needs an API key or a token with the scope `admin`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def me(self) -> Me:
        """Who this client is to the server."""
        return self._http.one(Me, "GET", f"{_PATH}/me")

    def list(self) -> TokenList:
        """All tokens, also those that open nothing any more, oldest first."""
        return self._http.answer(_TOKEN_LIST, "GET", _PATH)

    def create(self, name: str, scope: Scope, expires_at: datetime | None = None) -> TokenMade:
        """Make a token; without an offset its expiry is UTC. Raises Rejected."""
        body = {"name": name, "scope": scope, "expires_at": None if expires_at is None else in_utc(expires_at)}
        return self._http.one(TokenMade, "POST", _PATH, json=body)

    def rotate(self, token_id: str, overlap_hours: int = 0) -> TokenMade:
        """Make a successor; the old token ends, after the overlap if one is given. Raises NotFound, Rejected."""
        params = {"overlap_hours": overlap_hours}
        return self._http.one(TokenMade, "POST", path_below(_PATH, token_id, "rotate"), params=params)

    def revoke(self, token_id: str) -> Token:
        """End a token, at once. Raises NotFound, also for one that opens nothing any more."""
        return self._http.one(Token, "DELETE", path_below(_PATH, token_id))
