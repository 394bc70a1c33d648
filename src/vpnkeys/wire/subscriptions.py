"""Subscriptions: the address from which a customer's client gets its keys."""

from typing import Annotated

from pydantic import Field

from vpnkeys.wire.base import Answer, Microseconds, OneOf, StrictBody
from vpnkeys.wire.keys import Done

MAX_KEYS = 100
_SELF_SIGNED = "whether most apps refuse to load the address, because the server's certificate is self-signed"
_EXAMPLE = "https://vpn.example.com:8000/sub/pV9qT0w4mEw0n1bq8m3pX2c6y5Jk7LrS9uHdZ0aBcDe"


class SubscriptionMade(Answer):
    """A subscription that was made just now."""

    key_id: str
    url: Annotated[str, Field(description="for the customer's client or browser; shown this once", examples=[_EXAMPLE])]
    created_at: Microseconds
    self_signed: Annotated[bool, Field(description=_SELF_SIGNED)] = False


class Subscription(Answer):
    """Whether a key has a subscription, and since when. Its address cannot be told: only a hash of it is kept."""

    key_id: str
    exists: bool
    created_at: Microseconds | None = None


class SubscriptionRevoked(Done):
    """Nobody finds anything at that address any more."""

    message: Annotated[str, OneOf("Subscription revoked successfully")]


class NewSubscription(StrictBody):
    """The keys that a customer is to get by one address, in this order."""

    keys: Annotated[list[str], Field(min_length=1, max_length=MAX_KEYS, description="ids or UUIDs")]


class SharedSubscription(Answer):
    """A subscription of several keys. A deleted key leaves it, and the last one ends it."""

    id: Annotated[str, Field(examples=["9b2f6a70-6d0e-4f0e-9a57-3c1d2e4f5a6b"])]
    key_ids: Annotated[tuple[str, ...], Field(description="in the order in which the customer sees them")]
    created_at: Microseconds


class SharedSubscriptionMade(SharedSubscription):
    """A subscription of several keys that was made just now."""

    url: Annotated[str, Field(description="for the customer's client or browser; shown this once", examples=[_EXAMPLE])]
    self_signed: Annotated[bool, Field(description=_SELF_SIGNED)] = False
