"""Who may ask for what: API tokens made, recognised, rotated and revoked."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from vpnkeys.domain.audit import Entry
from vpnkeys.domain.errors import TokenNotFound
from vpnkeys.domain.token import Scope, Token, id_in, new_token
from vpnkeys.interfaces import Clock, Store, Transaction

_log = logging.getLogger(__name__)

_USE_IS_NEWS_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who was recognised. `id` is the token's, or a word where there is none."""

    id: str
    name: str
    scope: Scope


FIRST_KEY = Identity("first", "the first API key", Scope.ADMIN)
"""Whoever has the API key of the server's settings."""

LOCAL = Identity("local", "this machine", Scope.ADMIN)
"""Whoever can open the server's Unix socket: its own user and root."""

_WITHOUT_TOKEN = (FIRST_KEY, LOCAL)


@dataclass(frozen=True, slots=True)
class TokenService:
    """The use cases about tokens."""

    store: Store
    clock: Clock
    is_first_key: Callable[[str], bool]

    def identify(self, candidate: str) -> Identity | None:
        """Whose API key or token this is; None when it is nobody's, or not valid any more."""
        if self.is_first_key(candidate):
            return FIRST_KEY
        token = self._find(id_in(candidate))
        if token is None or not token.matches(candidate) or not token.is_valid(self.clock.now()):
            return None
        return _identity(token)

    def renew(self, identity: Identity) -> Identity | None:
        """Somebody who was recognised before, as of now; None when the token is not valid any more."""
        if identity in _WITHOUT_TOKEN:
            return identity
        token = self._find(identity.id)
        return _identity(token) if token is not None and token.is_valid(self.clock.now()) else None

    def list(self) -> tuple[Token, ...]:
        """All tokens, also those that open nothing any more, oldest first."""
        return self.store.tokens()

    def create(self, name: str, scope: Scope, expires_at: datetime | None = None) -> tuple[Token, str]:
        """Make a token; it and its text, which is told this once."""
        with self.store.write() as transaction:
            return self._make(transaction, "token.created", name, scope, expires_at)

    def rotate(self, token_id: str, overlap: timedelta) -> tuple[Token, str]:
        """Make a successor with the same name, scope and expiry; the old one works for as long as `overlap` says.

        Raises TokenNotFound, also for one that opens nothing any more.
        """
        now = self.clock.now()
        with self.store.write() as transaction:
            old = self._get_valid(token_id)
            end = now + overlap
            transaction.put_token(replace(old, expires_at=min(end, old.expires_at or end)))
            return self._make(transaction, "token.rotated", old.name, old.scope, old.expires_at, predecessor=old.id)

    def revoke(self, token_id: str) -> Token:
        """End a token, at once. Raises TokenNotFound, also for one that opens nothing any more."""
        with self.store.write() as transaction:
            token = replace(self._get_valid(token_id), revoked_at=self.clock.now())
            transaction.put_token(token)
            transaction.record(
                Entry("token.revoked", token.id, before={"name": token.name, "scope": token.scope.value})
            )
        return token

    def use_is_news(self, identity: Identity) -> bool:
        """Whether the token's last use, as it is stored, is so old that this one should be noted."""
        token = None if identity in _WITHOUT_TOKEN else self._find(identity.id)
        return token is not None and self._is_news(token)

    def note_use(self, identity: Identity) -> None:
        """Note that a token was used now; at most once an hour. Raises StoreUnavailable."""
        with self.store.write() as transaction:
            token = self._find(identity.id)
            if token is not None and self._is_news(token):
                transaction.put_token(replace(token, last_used_at=self.clock.now()))

    def _is_news(self, token: Token) -> bool:
        return token.last_used_at is None or self.clock.now() - token.last_used_at >= _USE_IS_NEWS_AFTER

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
        _log.info("token %s made with scope %s", token.prefix, scope)
        return token, text

    def _find(self, token_id: str | None) -> Token | None:
        return next((token for token in self.store.tokens() if token.id == token_id), None)

    def _get_valid(self, token_id: str) -> Token:
        token = self._find(token_id)
        if token is None or not token.is_valid(self.clock.now()):
            raise TokenNotFound("There is no valid token with this id; GET /api/tokens lists those that are.")
        return token


def _identity(token: Token) -> Identity:
    return Identity(token.id, f"{token.name} ({token.prefix})", token.scope)
