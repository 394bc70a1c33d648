"""Serves `/api/tokens`: makes, lists, rotates and revokes API tokens."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Path, Query

from vpnkeys.api.auth.access import requires
from vpnkeys.api.deps import IdentityDep, TokensDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.naming import parse_name
from vpnkeys.domain.token import Scope
from vpnkeys.domain.token import Token as Known
from vpnkeys.wire.tokens import Me, NewToken, Token, TokenMade

router = ApiRouter(prefix="/api/tokens", tags=["tokens"], responses=problems(400, 401, 404, 429, 500, 503))

TokenId = Annotated[str, Path(description="the token's id, the middle part of its visible prefix")]
_MOST_OVERLAP_HOURS = 30 * 24
_SHOWN = ("id", "name", "prefix", "scope", "created_at", "expires_at", "revoked_at", "last_used_at")


@router.get("/me")
@requires(Scope.READ)
async def get_me(who: IdentityDep) -> Me:
    """Return whose token this is, and what it may do."""
    return Me(id=who.id, name=who.name, scope=who.scope)


@router.get("")
@requires(Scope.ADMIN)
# A coroutine, because the store has the tokens in memory, so that this waits for nothing.
async def list_tokens(tokens: TokensDep) -> list[Token]:
    """Return all tokens, also expired and revoked ones, oldest first."""
    now = tokens.clock.now()
    return [_answer(token, now) for token in tokens.list()]


@router.post("")
@requires(Scope.ADMIN)
def create_token(new: NewToken, tokens: TokensDep) -> TokenMade:
    """Make a token. Its text is in this answer and nowhere else."""
    token, text = tokens.create(parse_name(new.name), Scope(new.scope), new.expires_at)
    return _made(token, text, tokens.clock.now())


@router.post("/{token_id}/rotate")
@requires(Scope.ADMIN)
def rotate_token(
    token_id: TokenId,
    tokens: TokensDep,
    overlap_hours: Annotated[
        int, Query(ge=0, le=_MOST_OVERLAP_HOURS, description="for how long the old one still works")
    ] = 0,
) -> TokenMade:
    """Make a successor with the same name, scope and expiry; the old token ends, at once unless an overlap is given."""
    token, text = tokens.rotate(token_id, timedelta(hours=overlap_hours))
    return _made(token, text, tokens.clock.now())


@router.delete("/{token_id}")
@requires(Scope.ADMIN)
def revoke_token(token_id: TokenId, tokens: TokensDep) -> Token:
    """Revoke a token, at once."""
    return _answer(tokens.revoke(token_id), tokens.clock.now())


def _answer(token: Known, now: datetime) -> Token:
    return Token(is_valid=token.is_valid(now), **{name: getattr(token, name) for name in _SHOWN})


def _made(token: Known, text: str, now: datetime) -> TokenMade:
    return TokenMade(token=text, **_answer(token, now).model_dump())
