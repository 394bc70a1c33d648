"""Makes, recognises, rotates and revokes API tokens, which say what their owner may do."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from vpnkeys.domain.audit import Entry
from vpnkeys.domain.errors import TokenNotFound
from vpnkeys.domain.token import Scope, Token, id_in, new_token
from vpnkeys.interfaces import Clock, Store, Transaction

_log = logging.getLogger(__name__)

_NOTE_USE_EVERY = timedelta(hours=1)
"""A commit for each request would cost more than the request. The time of the last use is exact to the hour."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Holds who was recognised. `id` is the token's id, or a fixed word where there is no token."""

    id: str
    name: str
    scope: Scope


FIRST_KEY = Identity("first", "the first API key", Scope.ADMIN)
"""The holder of the API key of the server's settings."""

LOCAL = Identity("local", "this machine", Scope.ADMIN)
"""A process that can open the server's Unix socket: one of the server's own user or of root."""

_WITHOUT_TOKEN = (FIRST_KEY, LOCAL)


@dataclass(frozen=True, slots=True)
class TokenService:
    """Implements the use cases about tokens."""

    store: Store
    clock: Clock
    is_first_key: Callable[[str], bool]

    def identify(self, candidate: str) -> Identity | None:
        """Return whose API key or token this is; None when it is unknown, expired or revoked."""
        if self.is_first_key(candidate):
            return FIRST_KEY
        # The id inside the token finds its row; what is secret is compared in the same time for every wrong candidate.
        token = self._find(id_in(candidate))
        if token is None or not token.matches(candidate) or not token.is_valid(self.clock.now()):
            return None
        return _identity(token)

    def renew(self, identity: Identity) -> Identity | None:
        """Return this identity with its present name and scope; None when its token is no longer valid."""
        if identity in _WITHOUT_TOKEN:
            return identity
        token = self._find(identity.id)
        return _identity(token) if token is not None and token.is_valid(self.clock.now()) else None

    def list(self) -> tuple[Token, ...]:
        """Return all tokens, also expired and revoked ones, oldest first."""
        return self.store.tokens()

    def create(self, name: str, scope: Scope, expires_at: datetime | None = None) -> tuple[Token, str]:
        """Make a token; return it and its text, of which only a digest is kept. Raises StoreUnavailable."""
        with self.store.write() as transaction:
            return self._make(transaction, "token.created", name, scope, expires_at)

    def rotate(self, token_id: str, overlap: timedelta) -> tuple[Token, str]:
        """Make a successor with the same name, scope and expiry; return it and its text. The old one ends in `overlap`.

        Raises TokenNotFound, also for an expired or revoked token.
        """
        now = self.clock.now()
        with self.store.write() as transaction:
            old = self._get_valid(token_id)
            end = now + overlap  # or earlier: an overlap must not prolong a token that expires before
            transaction.put_token(replace(old, expires_at=min(end, old.expires_at or end)))
            return self._make(transaction, "token.rotated", old.name, old.scope, old.expires_at, predecessor=old.id)

    def revoke(self, token_id: str) -> Token:
        """Revoke a token, at once, and return it. Raises TokenNotFound, also for an expired or revoked token."""
        with self.store.write() as transaction:
            token = replace(self._get_valid(token_id), revoked_at=self.clock.now())
            transaction.put_token(token)
            transaction.record(
                Entry("token.revoked", token.id, before={"name": token.name, "scope": token.scope.value})
            )
        return token

    def should_note_use(self, identity: Identity) -> bool:
        """Return whether the token's stored last use is more than an hour old, so that this use should be stored."""
        token = None if identity in _WITHOUT_TOKEN else self._find(identity.id)
        return token is not None and self._is_due(token)

    def note_use(self, identity: Identity) -> None:
        """Store that a token was used now; at most once an hour. Raises StoreUnavailable."""
        with self.store.write() as transaction:
            token = self._find(identity.id)  # anew: another request may have stored its use meanwhile
            if token is not None and self._is_due(token):
                transaction.put_token(replace(token, last_used_at=self.clock.now()))

    def _is_due(self, token: Token) -> bool:
        # The distance, not the age: after the clock was set back, uses are noted at once and not hours later.
        return token.last_used_at is None or abs(self.clock.now() - token.last_used_at) >= _NOTE_USE_EVERY

    def _make(
        self,
        transaction: Transaction,
        action: str,
        name: str,
        scope: Scope,
        expires_at: datetime | None,
        **more: object,
    ) -> tuple[Token, str]:
        token, text = new_token(name, scope, self.clock.now(), expires_at)
        transaction.put_token(token)
        until = expires_at.isoformat() if expires_at else None
        transaction.record(
            Entry(action, token.id, after={"name": name, "scope": scope.value, "expires_at": until, **more})
        )
        _log.info("token %s made with scope %s", token.id, scope)
        return token, text

    def _find(self, token_id: str | None) -> Token | None:
        return next((token for token in self.store.tokens() if token.id == token_id), None)

    def _get_valid(self, token_id: str) -> Token:
        token = self._find(token_id)
        if token is None or not token.is_valid(self.clock.now()):
            raise TokenNotFound("There is no valid token with this id; GET /api/tokens lists all tokens.")
        return token


def _identity(token: Token) -> Identity:
    # By its id, which commands take as well. The log's filter takes the visible prefix for a token, and removes it.
    return Identity(token.id, f"{token.name} ({token.id})", token.scope)
