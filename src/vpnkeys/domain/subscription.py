"""A customer's subscription: who has its token sees the key's link and usage. Of a token only a hash is kept."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription as the database holds it, one a key. `created_at` is UTC without an offset."""

    key_id: str
    token_hash: str
    created_at: datetime


def new_subscription(key_id: str, now: datetime) -> tuple[Subscription, str]:
    """A new subscription and its token, which nobody can tell later."""
    token = secrets.token_urlsafe(32)
    return Subscription(key_id, hash_token(token), now), token


def hash_token(token: str) -> str:
    """64 hex digits. One unsalted round is enough: a token is long and random."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
