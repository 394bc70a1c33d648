"""Makes and compares entity tags, so that a client is not sent again what it has (RFC 9110, 8.8.3 and 13.1.2)."""

import hashlib


def tag_of(content: bytes) -> str:
    """Return the entity tag of a representation."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def has(if_none_match: str, tag: str) -> bool:
    """Return whether a client that sends this If-None-Match has the representation with this tag."""
    # "W/" marks a weak tag. If-None-Match compares weakly, so a proxy that compressed the answer may send one.
    known = [offer.strip().removeprefix("W/") for offer in if_none_match.split(",")]
    return tag in known or known == ["*"]
