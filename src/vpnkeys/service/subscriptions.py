"""Makes, finds, replaces and revokes subscriptions: a secret address for each customer, known by its token."""

from collections.abc import Callable
from dataclasses import dataclass

from vpnkeys.domain.audit import Entry
from vpnkeys.domain.errors import NotFound
from vpnkeys.domain.key import Key, find
from vpnkeys.domain.limits import window_start
from vpnkeys.domain.link import host_in_url
from vpnkeys.domain.subscription import Subscription, hash_token, new_subscription
from vpnkeys.interfaces import Clock, Store


class SubscriptionNotFound(NotFound):
    """Says that the key has no subscription."""

    code = "subscription_not_found"


@dataclass(frozen=True, slots=True)
class SubscriptionService:
    """Implements the use cases about subscriptions. Customers reach this server by HTTPS at `host` and `port`.

    `keys` returns the keys as they are in force, with stops that the database could not store.
    """

    store: Store
    clock: Clock
    host: str
    port: int
    keys: Callable[[], tuple[Key, ...]]

    def of(self, key: Key) -> Subscription | None:
        """Return a key's subscription, None when it has none."""
        return next((one for one in self.store.subscriptions().values() if one.key_id == key.id), None)

    def find(self, token: str) -> Key | None:
        """Return the key whose subscription has this token, None for an unknown token."""
        # Found by its hash, so that the time of the search says nothing about how much of a guess was right.
        subscription = self.store.subscriptions().get(hash_token(token))
        if subscription is None:
            return None
        return next((key for key in self.keys() if key.id == subscription.key_id), None)

    def rotate(self, key: Key) -> tuple[Subscription, str]:
        """Give a key a new subscription; return it and its token, of which only a hash is kept.

        The old token stops working at once. Raises KeyNotFound when the key was deleted.
        """
        with self.store.write() as transaction:
            find(transaction.keys(), key.id)
            old = self.of(key)
            new, token = new_subscription(key.id, self.clock.now())
            transaction.put_subscription(new)
            transaction.record(Entry("subscription.rotated", key.id, _facts(old), _facts(new)))
        return new, token

    def revoke(self, key: Key) -> None:
        """Delete a key's subscription; its token stops working at once. Raises SubscriptionNotFound."""
        with self.store.write() as transaction:
            old = self.of(key)
            if old is None:
                raise SubscriptionNotFound("This key has no subscription; POST makes one.")
            transaction.delete_subscription(key.id)
            transaction.record(Entry("subscription.revoked", key.id, _facts(old)))

    def url(self, token: str) -> str:
        """Return the address for the customer."""
        return f"https://{host_in_url(self.host)}:{self.port}/sub/{token}"

    def used_bytes(self, key: Key) -> int:
        """Return the bytes that a key has used in the present window of its traffic limit, as last sampled."""
        since = window_start(key.limits.traffic_window, self.clock.now())
        return self.store.used_bytes({key.account: since})[key.account]


def _facts(subscription: Subscription | None) -> dict[str, object]:
    return {} if subscription is None else {"created_at": subscription.created_at.isoformat()}
