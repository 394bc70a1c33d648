"""`/api/keys/{key_id}/subscription`: an address that a customer can be given, replaced and taken away."""

from fastapi import APIRouter

from vpnkeys.api.deps import KeyId, ServerDep, changing_keys, reading
from vpnkeys.api.problems import problems
from vpnkeys.wire.subscriptions import Subscription, SubscriptionMade, SubscriptionRevoked

router = APIRouter(
    prefix="/api/keys/{key_id}/subscription",
    tags=["subscriptions"],
    dependencies=[reading],
    responses=problems(401, 404, 429, 500, 503),
)


@router.post("", dependencies=[changing_keys])
def make_subscription(key_id: KeyId, server: ServerDep) -> SubscriptionMade:
    """Make a subscription. The one that the key has is replaced, and its address leads nowhere from now on."""
    made, token = server.subscriptions.rotate(server.keys.get(key_id))
    return SubscriptionMade(key_id=made.key_id, url=server.subscriptions.url(token), created_at=made.created_at)


@router.get("")
async def get_subscription_state(key_id: KeyId, server: ServerDep) -> Subscription:
    """Whether a key has a subscription."""
    key = server.keys.get(key_id)
    found = server.subscriptions.of(key)
    return Subscription(key_id=key.id, exists=found is not None, created_at=found.created_at if found else None)


@router.delete("", dependencies=[changing_keys])
def revoke_subscription(key_id: KeyId, server: ServerDep) -> SubscriptionRevoked:
    """Take a key's subscription away, at once; the key itself stays as it is."""
    server.subscriptions.revoke(server.keys.get(key_id))
    return SubscriptionRevoked(message="Subscription revoked successfully")
