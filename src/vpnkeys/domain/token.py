"""API tokens: who may do what, until when. Of a token only a digest is kept."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

_MARK = "vpnk"
"""So that a token is known for one wherever it turns up, by people and by scanners for leaked secrets."""


class Scope(StrEnum):
    """What a token may do; each may what the one before may."""

    READ = "read"
    """Look at everything but tokens and the audit log."""
    KEYS = "keys"
    """Make, change and delete keys."""
    ADMIN = "admin"
    """Everything."""

    def allows(self, needed: "Scope") -> bool:
        """Whether this scope is enough."""
        return _ORDER[self] >= _ORDER[needed]


_ORDER = {scope: place for place, scope in enumerate(Scope)}


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the database holds it. `prefix` is the visible beginning; times are UTC without an offset."""

    id: str
    name: str
    prefix: str
    digest: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether it still opens anything."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def matches(self, candidate: str) -> bool:
        """Whether it is this token; takes the same time for every wrong one."""
        return hmac.compare_digest(_digest(candidate), self.digest)


def new_token(name: str, scope: Scope, now: datetime, expires_at: datetime | None = None) -> tuple[Token, str]:
    """A new token and its text, which nobody can tell later."""
    token_id = secrets.token_hex(4)
    prefix = f"{_MARK}_{token_id}"
    text = f"{prefix}_{secrets.token_urlsafe(32)}"
    return Token(token_id, name, prefix, _digest(text), scope, now, expires_at), text


def id_in(candidate: str) -> str | None:
    """The id that a text claims, if it looks like a token."""
    mark, _, rest = candidate.partition("_")
    token_id, _, secret = rest.partition("_")
    return token_id if mark == _MARK and token_id and secret else None


def _digest(text: str) -> str:
    """One unsalted round is enough: a token is long and random."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()
