"""Serves `/api/keys/{key_id}/subscription` and `/api/subscriptions`: the addresses of customers' subscriptions."""

from typing import Annotated

from fastapi import Path

from vpnkeys.api.auth.access import requires
from vpnkeys.api.deps import KeyDep, SubscriptionsDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.token import Scope
from vpnkeys.wire.subscriptions import (
    NewSubscription,
    SharedSubscription,
    SharedSubscriptionMade,
    Subscription,
    SubscriptionMade,
    SubscriptionRevoked,
)

router = ApiRouter(tags=["subscriptions"])

_OF_ONE_KEY = "/api/keys/{key_id}/subscription"
_SHARED = "/api/subscriptions"
_PROBLEMS = problems(401, 404, 429, 500, 503)
_PROBLEMS_WITH_BODY = problems(400, 401, 404, 429, 500, 503)


@router.post(_OF_ONE_KEY, responses=_PROBLEMS)
@requires(Scope.KEYS)
def make_subscription(key: KeyDep, subscriptions: SubscriptionsDep) -> SubscriptionMade:
    """Make a subscription. It replaces the one that the key has, whose address stops working at once."""
    made, token = subscriptions.rotate(key)
    return SubscriptionMade(
        key_id=key.id,
        url=subscriptions.url(token),
        created_at=made.created_at,
        self_signed=subscriptions.is_self_signed(),
    )


@router.get(_OF_ONE_KEY, responses=_PROBLEMS)
@requires(Scope.READ)
async def get_subscription_state(key: KeyDep, subscriptions: SubscriptionsDep) -> Subscription:
    """Return whether a key has a subscription."""
    found = subscriptions.of(key)
    return Subscription(key_id=key.id, exists=found is not None, created_at=found.created_at if found else None)


@router.delete(_OF_ONE_KEY, responses=_PROBLEMS)
@requires(Scope.KEYS)
def revoke_subscription(key: KeyDep, subscriptions: SubscriptionsDep) -> SubscriptionRevoked:
    """Revoke a key's subscription at once; the key itself stays as it is."""
    subscriptions.revoke(key)
    return SubscriptionRevoked(message="Subscription revoked successfully")


@router.post(_SHARED, responses=_PROBLEMS_WITH_BODY)
@requires(Scope.KEYS)
def make_shared_subscription(wanted: NewSubscription, subscriptions: SubscriptionsDep) -> SharedSubscriptionMade:
    """Make a subscription of several keys: one address by which a customer's client gets all of them."""
    made, token = subscriptions.share(wanted.keys)
    return SharedSubscriptionMade(
        id=made.id,
        key_ids=made.key_ids,
        created_at=made.created_at,
        url=subscriptions.url(token),
        self_signed=subscriptions.is_self_signed(),
    )


@router.get(_SHARED, responses=problems(401, 429, 500, 503))
@requires(Scope.READ)
async def list_shared_subscriptions(subscriptions: SubscriptionsDep) -> list[SharedSubscription]:
    """Return the subscriptions of several keys, oldest first. Their addresses cannot be told again."""
    return [
        SharedSubscription(id=one.id, key_ids=one.key_ids, created_at=one.created_at) for one in subscriptions.shared()
    ]


@router.delete(_SHARED + "/{subscription_id}", responses=_PROBLEMS)
@requires(Scope.KEYS)
def revoke_shared_subscription(
    subscription_id: Annotated[str, Path(description="the id of a subscription of several keys")],
    subscriptions: SubscriptionsDep,
) -> SubscriptionRevoked:
    """Revoke a subscription of several keys at once; the keys themselves stay as they are."""
    subscriptions.revoke_shared(subscription_id)
    return SubscriptionRevoked(message="Subscription revoked successfully")
