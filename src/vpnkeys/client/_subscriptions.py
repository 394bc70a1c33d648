"""`/api/subscriptions`: subscriptions of several keys, for customers who have more than one."""

from collections.abc import Iterable
from typing import TypeAlias

from pydantic import TypeAdapter

from vpnkeys.client._calls import AsyncPart, Call, Part, Request, answer, one
from vpnkeys.client._http import path_below
from vpnkeys.wire.subscriptions import SharedSubscription, SharedSubscriptionMade, SubscriptionRevoked

_PATH = "/api/subscriptions"

SubscriptionList: TypeAlias = list[SharedSubscription]  # a name that `Subscriptions.list` does not hide

_SUBSCRIPTION_LIST = TypeAdapter(SubscriptionList)


class SubscriptionsRequests:
    """The subscriptions of several keys. That of one key is made by `Keys.make_subscription`."""

    @Request
    def list(self) -> Call[SubscriptionList]:
        """Return all of them, oldest first."""
        return answer(_SUBSCRIPTION_LIST, "GET", _PATH)

    @Request
    def create(self, ids_or_uuids: Iterable[str]) -> Call[SharedSubscriptionMade]:
        """Make a subscription and return it with its address, which cannot be told again. Raises NotFound."""
        return one(SharedSubscriptionMade, "POST", _PATH, json={"keys": [*ids_or_uuids]})

    @Request
    def revoke(self, subscription_id: str) -> Call[SubscriptionRevoked]:
        """Take a subscription away, at once; its keys stay. Raises NotFound."""
        return one(SubscriptionRevoked, "DELETE", path_below(_PATH, subscription_id))


class Subscriptions(Part, SubscriptionsRequests):
    """The subscriptions of several keys. That of one key is made by `Keys.make_subscription`."""


class AsyncSubscriptions(AsyncPart, SubscriptionsRequests):
    """The subscriptions of several keys. That of one key is made by `AsyncKeys.make_subscription`."""
