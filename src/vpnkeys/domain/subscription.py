"""Subscriptions. A subscription's token opens a page with one key's link and usage; only the token's hash is stored."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription as the database holds it, at most one per key. `created_at` is UTC without an offset."""

    key_id: str
    token_hash: str
    created_at: datetime


def new_subscription(key_id: str, now: datetime) -> tuple[Subscription, str]:
    """Return a new subscription and its token. The token cannot be recovered later."""
    token = secrets.token_urlsafe(32)
    return Subscription(key_id, hash_token(token), now), token


def hash_token(token: str) -> str:
    """Return the SHA-256 hash of a token, 64 hex digits.

    One unsalted round is enough: a token has 256 random bits, so guessing is hopeless.
    """
    # surrogatepass: a request may hold any text, and a lone surrogate must be a wrong token, not a failure.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
