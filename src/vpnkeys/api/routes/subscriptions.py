"""Serves `/api/keys/{key_id}/subscription`: makes, replaces and revokes a customer's subscription address."""

from vpnkeys.api.auth.access import requires
from vpnkeys.api.deps import KeyDep, SubscriptionsDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.token import Scope
from vpnkeys.wire.subscriptions import Subscription, SubscriptionMade, SubscriptionRevoked

router = ApiRouter(
    prefix="/api/keys/{key_id}/subscription",
    tags=["subscriptions"],
    responses=problems(401, 404, 429, 500, 503),
)


@router.post("")
@requires(Scope.KEYS)
def make_subscription(key: KeyDep, subscriptions: SubscriptionsDep) -> SubscriptionMade:
    """Make a subscription. It replaces the one that the key has, whose address stops working at once."""
    made, token = subscriptions.rotate(key)
    return SubscriptionMade(key_id=made.key_id, url=subscriptions.url(token), created_at=made.created_at)


@router.get("")
@requires(Scope.READ)
async def get_subscription_state(key: KeyDep, subscriptions: SubscriptionsDep) -> Subscription:
    """Return whether a key has a subscription."""
    found = subscriptions.of(key)
    return Subscription(key_id=key.id, exists=found is not None, created_at=found.created_at if found else None)


@router.delete("")
@requires(Scope.KEYS)
def revoke_subscription(key: KeyDep, subscriptions: SubscriptionsDep) -> SubscriptionRevoked:
    """Revoke a key's subscription at once; the key itself stays as it is."""
    subscriptions.revoke(key)
    return SubscriptionRevoked(message="Subscription revoked successfully")
