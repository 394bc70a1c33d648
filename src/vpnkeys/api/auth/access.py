"""Decides for every route who may call it, and how often, before its handler or a body is looked at.

A route says what it needs by a decorator, and has no other way in (`api/routing.py`).
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from starlette.types import Scope

from vpnkeys.api.auth.credentials import Credentials, credentials_in
from vpnkeys.api.auth.rate_limits import RateLimits
from vpnkeys.api.auth.sessions import Sessions
from vpnkeys.api.errors import ScopeTooSmall, Unauthorized
from vpnkeys.domain.actor import Actor, set_actor
from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.token import Scope as TokenScope
from vpnkeys.server.requests import current_request_id
from vpnkeys.server.trusted import is_trusted
from vpnkeys.service.tokens import LOCAL, Identity, TokenService

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_MARK = "vpnkeys.needs"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class Needs(NamedTuple):
    """What a route asks of its callers: a scope (None: it is open to all), and the rate limit that counts them."""

    scope: TokenScope | None
    limit: str | None = None


def requires(scope: TokenScope, *, limit: str | None = None) -> Callable[[Endpoint], Endpoint]:
    """Let only those in who have this scope, and no more often than the rate limit of this name says."""
    return lambda endpoint: _marked(endpoint, Needs(scope, limit))


def public(endpoint: Endpoint) -> Endpoint:
    """Let all in: nothing that this route shows is a secret, or it checks its callers itself."""
    return _marked(endpoint, Needs(None))


def needs_of(endpoint: Callable[..., object]) -> Needs:
    """Return what a route with this endpoint needs. Raises TypeError where it does not say so."""
    needs = vars(endpoint).get(_MARK)
    if not isinstance(needs, Needs):
        msg = f"{endpoint.__qualname__} does not say who may call it: decorate it with `requires` or `public`"
        raise TypeError(msg)
    return needs


def _marked(endpoint: Endpoint, needs: Needs) -> Endpoint:
    vars(endpoint)[_MARK] = needs
    return endpoint


@dataclass(frozen=True, slots=True)
class AccessControl:
    """Lets callers in by API key, token, browser session, or because they came by the Unix socket."""

    tokens: TokenService
    sessions: Sessions
    limits: RateLimits

    def admit(self, needs: Needs, scope: Scope) -> None:
        """Note in the request's scope who sends it, who answers from here on for what is done.

        Raises Unauthorized, ScopeTooSmall, TooManyRequests, RepeatedHeader, StoreUnavailable.
        """
        if needs.scope is None:
            return
        who = LOCAL if is_trusted(scope) else self._identify(credentials_in(scope["headers"]), scope)
        if self.tokens.should_note_use(who):
            asyncio.get_running_loop().run_in_executor(None, self._note_use, who)
        scope["state"]["identity"] = who
        set_actor(Actor(who.name, "unix socket" if who is LOCAL else address_of(scope), current_request_id()))
        if not who.scope.allows(needs.scope):
            raise ScopeTooSmall(needs.scope, who.scope)
        if needs.limit is not None and who is not LOCAL:
            self.limits.take(needs.limit, who.id, scope)

    def recognise(self, token: str, scope: Scope) -> Identity:
        """Return whose API key or token this is. Raises Unauthorized; TooManyRequests where too many were wrong."""
        who = self.tokens.identify(token)
        if who is None:
            self.limits.count_failure(address_of(scope))
            raise Unauthorized
        return who

    def _identify(self, shown: Credentials, scope: Scope) -> Identity:
        if shown.token:
            return self.recognise(shown.token, scope)
        return self._signed_in(shown, is_safe=scope["method"] in _SAFE_METHODS)

    def _signed_in(self, shown: Credentials, *, is_safe: bool) -> Identity:
        """Return whose browser this is. Only a page of ours knows the CSRF token, so no other site changes anything."""
        session = self.sessions.find(shown.cookie)
        who = self.tokens.renew(session.identity) if session else None
        if session is None or who is None or not (is_safe or session.allows(shown.csrf)):
            raise Unauthorized
        return who

    def _note_use(self, who: Identity) -> None:
        with suppress(StoreUnavailable):  # the next use is noted then
            self.tokens.note_use(who)


def address_of(scope: Scope) -> str:
    """Return the address that a request came from; empty on the Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client else ""
