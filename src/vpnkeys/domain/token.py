"""API tokens: their scopes, expiry and check. Only a digest of a token is stored."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

MARK = "vpnk"
"""The prefix by which people, our log and scanners for leaked secrets recognise a token."""


_API_KEY = re.compile(r"[!-~][ -~]{14,}[!-~]")
"""What a header carries as it is: printable ASCII, and no spaces at the ends, which a reader of it takes away."""


class Scope(StrEnum):
    """A scope says what a token may do; each includes the ones before it."""

    READ = "read"
    """Read everything except tokens and the audit log."""
    KEYS = "keys"
    """Create, change and delete keys."""
    ADMIN = "admin"
    """Everything."""

    def allows(self, needed: "Scope") -> bool:
        """Return whether this scope includes the needed one."""
        return _RANK[self] >= _RANK[needed]


_RANK = {scope: rank for rank, scope in enumerate(Scope)}


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the database holds it. `prefix` is the part shown in lists; times are UTC without an offset."""

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
        """Return whether the token is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def matches(self, candidate: str) -> bool:
        """Return whether the text is this token. It takes the same time for every wrong text."""
        return hmac.compare_digest(digest_of(candidate), self.digest)


def new_token(name: str, scope: Scope, now: datetime, expires_at: datetime | None = None) -> tuple[Token, str]:
    """Return a new token and its text. The text cannot be recovered later."""
    token_id = secrets.token_hex(4)  # it only has to be unique: the secret after it protects the token
    prefix = f"{MARK}_{token_id}"
    text = f"{prefix}_{secrets.token_urlsafe(32)}"
    return Token(token_id, name, prefix, digest_of(text), scope, now, expires_at), text


def parse_api_key(value: object) -> str:
    """Return the text of an API key of the operator's choice. Raises ValueError, without the text."""
    text = str(value).strip()  # no client can send white space at the end of a header
    if _API_KEY.fullmatch(text) is None:
        raise ValueError("give 16 characters or more, all of them printable ASCII: a header of HTTP carries no others")
    return text


def id_in(candidate: str) -> str | None:
    """Return the id in a text of a token's form, unverified; None for any other text."""
    mark, _, rest = candidate.partition("_")
    token_id, _, secret = rest.partition("_")
    return token_id if mark == MARK and token_id and secret else None


def digest_of(text: str) -> str:
    """Return the digest of a token. One unsalted round is enough: a token has 256 random bits."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()
