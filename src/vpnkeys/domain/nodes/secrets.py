"""Tokens of nodes: one by which an agent joins, once, and one by which it is known from then on.

Both have the form of API tokens, by which our log and scanners for leaked secrets recognise them; no API token has the
id of one. Only digests are stored.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from vpnkeys.domain.token import MARK, digest_of, id_in

JOIN_WITHIN: Final = timedelta(minutes=15)
RENEW_AFTER: Final = timedelta(days=30)
"""An agent gets another token after so long."""

_MOST_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class Join:
    """Lets one agent become a node, until it expires."""

    digest: str
    node_id: int
    expires_at: datetime


def new_join(node_id: int, now: datetime) -> tuple[Join, str]:
    """Return a new join of this node, and the text of its token."""
    text = _new(f"join{node_id}")
    return Join(digest_of(text), node_id, now + JOIN_WITHIN), text


def new_node_token(node_id: int) -> tuple[str, str]:
    """Return the digest and the text of a new token for a node's agent."""
    text = _new(f"node{node_id}")
    return digest_of(text), text


def id_of_node(candidate: str) -> int | None:
    """Return the id in a text of the form of a node's token, unverified; None for any other text."""
    kind, _, number = (id_in(candidate) or "").partition("node")
    is_number = number.isascii() and number.isdecimal() and len(number) <= _MOST_DIGITS
    return int(number) if not kind and is_number else None


def is_digest_of(digest: str, candidate: str) -> bool:
    """Return whether a text is the token with this digest. It takes the same time for every wrong text."""
    return bool(digest) and hmac.compare_digest(digest_of(candidate), digest)


def _new(token_id: str) -> str:
    return f"{MARK}_{token_id}_{secrets.token_urlsafe(32)}"
