"""Decides for every route who may call it, and how often, before the handler runs or a body is read.

A route says what it needs by a decorator; without one it cannot be added (`api/routing.py`).
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from starlette.types import Scope

from vpnkeys.api.auth.credentials import Credentials, credentials_in
from vpnkeys.api.auth.rate_limits import RateLimits
from vpnkeys.api.auth.sessions import Sessions
from vpnkeys.api.auth.shares import Shares
from vpnkeys.api.errors import ScopeTooSmall, Unauthorized
from vpnkeys.domain.actor import Actor, set_actor
from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.token import Scope as TokenScope
from vpnkeys.server.pools import Pool
from vpnkeys.server.requests import current_request_id
from vpnkeys.server.trusted import is_trusted
from vpnkeys.service.tokens import LOCAL, Identity, TokenService

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_MARK = "vpnkeys.needs"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class Needs(NamedTuple):
    """Holds what a route requires: a scope (None: open to all), and how its callers are limited.

    `limit` is the name of a rate limit; `at_once` is how many such requests one identity may have at one time. `pool`
    are the threads of its function, unless that is a coroutine.
    """

    scope: TokenScope | None
    limit: str | None = None
    at_once: int | None = None
    pool: Pool = Pool.QUICK


def requires(
    scope: TokenScope, *, limit: str | None = None, at_once: int | None = None, pool: Pool = Pool.QUICK
) -> Callable[[Endpoint], Endpoint]:
    """Mark a route as open to callers with this scope, limited and run as `Needs` says."""
    return lambda endpoint: _marked(endpoint, Needs(scope, limit, at_once, pool))


def public(endpoint: Endpoint) -> Endpoint:
    """Mark a route as open to all: it shows nothing secret, or checks its callers itself."""
    return _marked(endpoint, Needs(None, pool=Pool.OPEN))


def needs_of(endpoint: Callable[..., object]) -> Needs:
    """Return what a route with this endpoint requires. Raises TypeError when its endpoint is not marked."""
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
    """Recognises callers by API key, token, browser session or the Unix socket, and lets them in."""

    tokens: TokenService
    sessions: Sessions
    limits: RateLimits
    shares: Shares

    def taken(self, needs: Needs, scope: Scope) -> AbstractContextManager[None]:
        """Return a context in which the caller, who was admitted, has one more of these requests.

        Entering it raises TooManyRequests when the caller has the most already.
        """
        who: Identity | None = scope["state"].get("identity")
        # Commands on this machine are not limited: root could do the same without the API.
        if needs.at_once is None or who is None or who is LOCAL:
            return nullcontext()
        return self.shares.taken(scope["route"].path, who.id, needs.at_once)

    def admit(self, needs: Needs, scope: Scope) -> None:
        """Check the caller, and note in the request's scope and for the audit log who it is.

        Raises Unauthorized, ScopeTooSmall, TooManyRequests, CredentialsDiffer, StoreUnavailable.
        """
        if needs.scope is None:
            return
        who = LOCAL if is_trusted(scope) else self._identify(credentials_in(scope["headers"]), scope)
        if self.tokens.should_note_use(who):
            # In a thread and not waited for: it is a commit, and the answer does not depend on it.
            asyncio.get_running_loop().run_in_executor(None, self._note_use, who)
        scope["state"]["identity"] = who
        set_actor(Actor(who.name, "unix socket" if who is LOCAL else address_of(scope), current_request_id()))
        if not who.scope.allows(needs.scope):
            raise ScopeTooSmall(needs.scope, who.scope)
        # Commands on this machine are not limited: root could do the same without the API.
        if needs.limit is not None and who is not LOCAL:
            self.limits.take(needs.limit, who.id, scope)

    def recognise(self, token: str, scope: Scope) -> Identity:
        """Return whose API key or token this is. Raises Unauthorized, TooManyRequests when too many were wrong."""
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
        """Return whose browser this is. Raises Unauthorized.

        A browser sends the cookie also when another site makes it ask, but only our own page knows the CSRF token. So
        a request that changes anything needs both.
        """
        session = self.sessions.find(shown.cookie)
        who = self.tokens.renew(session.identity) if session else None
        if session is None or who is None or not (is_safe or session.allows(shown.csrf)):
            raise Unauthorized
        return who

    def _note_use(self, who: Identity) -> None:
        with suppress(StoreUnavailable):  # the next use is stored instead
            self.tokens.note_use(who)


def address_of(scope: Scope) -> str:
    """Return the address that a request came from; empty on the Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client else ""
