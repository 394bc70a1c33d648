"""`/api/subscriptions`: subscriptions of several keys, for customers who have more than one."""

from collections.abc import Iterable
from typing import TypeAlias

from pydantic import TypeAdapter

from vpnkeys.client._http import Http, path_below
from vpnkeys.wire.subscriptions import SharedSubscription, SharedSubscriptionMade, SubscriptionRevoked

_PATH = "/api/subscriptions"

SubscriptionList: TypeAlias = list[SharedSubscription]  # a name that `Subscriptions.list` does not hide

_SUBSCRIPTION_LIST = TypeAdapter(SubscriptionList)


class Subscriptions:
    """The subscriptions of several keys. That of one key is made by `Keys.make_subscription`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> SubscriptionList:
        """Return all of them, oldest first."""
        return self._http.answer(_SUBSCRIPTION_LIST, "GET", _PATH)

    def create(self, ids_or_uuids: Iterable[str]) -> SharedSubscriptionMade:
        """Make a subscription and return it with its address, which cannot be told again. Raises NotFound."""
        return self._http.one(SharedSubscriptionMade, "POST", _PATH, json={"keys": [*ids_or_uuids]})

    def revoke(self, subscription_id: str) -> SubscriptionRevoked:
        """Take a subscription away, at once; its keys stay. Raises NotFound."""
        return self._http.one(SubscriptionRevoked, "DELETE", path_below(_PATH, subscription_id))
