"""Subscriptions: the address from which a customer's client gets its key."""

from typing import Annotated

from pydantic import Field

from vpnkeys.wire.base import Answer, Microseconds, OneOf
from vpnkeys.wire.keys import Done


class SubscriptionMade(Answer):
    """A subscription that was made just now."""

    key_id: str
    url: Annotated[str, Field(description="for the customer's client or browser; shown this once")]
    created_at: Microseconds


class Subscription(Answer):
    """Whether a key has a subscription, and since when. Its address cannot be told: only a hash of it is kept."""

    key_id: str
    exists: bool
    created_at: Microseconds | None = None


class SubscriptionRevoked(Done):
    """Nobody finds anything at that address any more."""

    message: Annotated[str, OneOf("Subscription revoked successfully")]
