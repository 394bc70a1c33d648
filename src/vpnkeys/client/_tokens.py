"""`/api/tokens`: tokens, each with what it may be used for."""

from datetime import datetime
from typing import TypeAlias

from pydantic import TypeAdapter

from vpnkeys.client._calls import AsyncPart, Call, Part, Request, answer, one
from vpnkeys.client._fields import in_utc
from vpnkeys.client._http import path_below
from vpnkeys.wire.tokens import Me, Scope, Token, TokenMade

_PATH = "/api/tokens"


TokenList: TypeAlias = list[Token]  # a name that `Tokens.list` does not hide

_TOKEN_LIST = TypeAdapter(TokenList)


class TokensRequests:
    """The tokens of the server. All methods but `me` need an API key or a token with the scope `admin`."""

    @Request
    def me(self) -> Call[Me]:
        """Return the name and the scope under which the server knows this client."""
        return one(Me, "GET", f"{_PATH}/me")

    @Request
    def list(self) -> Call[TokenList]:
        """Return all tokens, also those that are no longer valid, oldest first."""
        return answer(_TOKEN_LIST, "GET", _PATH)

    @Request
    def create(self, name: str, scope: Scope, expires_at: datetime | None = None) -> Call[TokenMade]:
        """Make a token and return it with its text; an expiry without an offset is UTC. Raises Rejected."""
        body = {"name": name, "scope": scope, "expires_at": None if expires_at is None else in_utc(expires_at)}
        return one(TokenMade, "POST", _PATH, json=body)

    @Request
    def rotate(self, token_id: str, overlap_hours: int = 0) -> Call[TokenMade]:
        """Make a successor and return it; the old token ends, after the overlap if one is given.

        Raises NotFound, Rejected.
        """
        params = {"overlap_hours": overlap_hours}
        return one(TokenMade, "POST", path_below(_PATH, token_id, "rotate"), params=params)

    @Request
    def revoke(self, token_id: str) -> Call[Token]:
        """End a token at once and return it. Raises NotFound, also for one that is no longer valid."""
        return one(Token, "DELETE", path_below(_PATH, token_id))


class Tokens(Part, TokensRequests):
    """The tokens of the server. All methods but `me` need an API key or a token with the scope `admin`."""


class AsyncTokens(AsyncPart, TokensRequests):
    """The tokens of the server. All methods but `me` need an API key or a token with the scope `admin`."""
