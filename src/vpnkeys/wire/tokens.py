"""Tokens: who may ask this API for what."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from vpnkeys.wire.base import Answer, Expiry, Microseconds, Name, OneOf, StrictBody

Scope = Literal["read", "keys", "admin"]

_MAY = Field(description="what the token may do; each may do what the one before may")
SentScope = Annotated[str, OneOf(*get_args(Scope)), _MAY]


class NewToken(StrictBody):
    """A token to make."""

    name: Name
    scope: Annotated[Scope, _MAY]
    expires_at: Annotated[Expiry | None, Field(description="when it ends; null: never; a date: its end, UTC")] = None


class Token(Answer):
    """A token: of its text only the visible beginning. `is_valid` tells whether it still opens anything."""

    id: str
    name: str
    prefix: str
    scope: SentScope
    is_valid: bool
    created_at: Microseconds
    expires_at: Microseconds | None = None
    revoked_at: Microseconds | None = None
    last_used_at: Annotated[
        Microseconds | None, Field(description="to the hour: a use within an hour is not noted again")
    ] = None


class TokenMade(Token):
    """A token that was made just now, with its text."""

    token: Annotated[str, Field(description="shown this once")]


class Me(Answer):
    """Who asks, and what they may do."""

    id: str
    name: str
    scope: SentScope
