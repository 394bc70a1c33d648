"""Subscriptions. A subscription's token opens a page with keys, their links and usage; only its hash is stored."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription as the database holds it. `created_at` is UTC without an offset.

    A key's own subscription, of which it has at most one, has the id of the key. `key_ids` are in the order in which
    the customer sees the keys; a key that is deleted leaves its subscriptions, and the last one ends them.
    """

    id: str
    key_ids: tuple[str, ...]
    token_hash: str
    created_at: datetime

    @property
    def is_shared(self) -> bool:
        """Whether it was made for several keys together."""
        return self.key_ids != (self.id,)


def new_subscription(key_id: str, now: datetime) -> tuple[Subscription, str]:
    """Return a new subscription of one key, and its token. The token cannot be recovered later."""
    token = _new_token()
    return Subscription(key_id, (key_id,), hash_token(token), now), token


def new_shared(key_ids: tuple[str, ...], now: datetime) -> tuple[Subscription, str]:
    """Return a new subscription for several keys, and its token. The token cannot be recovered later."""
    token = _new_token()
    return Subscription(str(uuid4()), key_ids, hash_token(token), now), token


def _new_token() -> str:
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """Return the SHA-256 hash of a token, 64 hex digits.

    One unsalted round is enough: a token has 256 random bits, so guessing is hopeless.
    """
    # surrogatepass: a request may hold any text, and a lone surrogate must be a wrong token, not a failure.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
