"""Subscriptions: an address of a customer's own, made, found by its token, replaced and taken away."""

from dataclasses import dataclass

from vpnkeys.domain.audit import Entry
from vpnkeys.domain.change import find
from vpnkeys.domain.errors import NotFound
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import window_start
from vpnkeys.domain.link import host_in_url
from vpnkeys.domain.subscription import Subscription, hash_token, new_subscription
from vpnkeys.interfaces import Clock, Store


class SubscriptionNotFound(NotFound):
    """The key has no subscription."""

    code = "subscription_not_found"


@dataclass(frozen=True, slots=True)
class SubscriptionService:
    """The use cases about subscriptions. `host` and `port` are where customers reach this server by HTTPS."""

    store: Store
    clock: Clock
    host: str
    port: int

    def of(self, key: Key) -> Subscription | None:
        """A key's subscription, if it has one."""
        return next((one for one in self.store.subscriptions().values() if one.key_id == key.id), None)

    def find(self, token: str) -> Key | None:
        """Whose token this is; the same work for every token that is nobody's."""
        subscription = self.store.subscriptions().get(hash_token(token))
        if subscription is None:
            return None
        keys = self.store.keys()
        return next((key for key in keys if key.id == subscription.key_id), None)

    def rotate(self, key: Key) -> tuple[Subscription, str]:
        """Give a key a new subscription; it and its token, which is told this once.

        The one it had stops at once. Raises KeyNotFound when the key is gone.
        """
        with self.store.write() as transaction:
            find(transaction.keys(), key.id)
            old = self.of(key)
            new, token = new_subscription(key.id, self.clock.now())
            transaction.put_subscription(new)
            transaction.record(Entry("subscription.rotated", key.id, _facts(old), _facts(new)))
        return new, token

    def revoke(self, key: Key) -> None:
        """Take a key's subscription away, at once. Raises SubscriptionNotFound."""
        with self.store.write() as transaction:
            old = self.of(key)
            if old is None:
                raise SubscriptionNotFound("This key has no subscription; POST makes one.")
            transaction.delete_subscription(key.id)
            transaction.record(Entry("subscription.revoked", key.id, _facts(old)))

    def url(self, token: str) -> str:
        """The address that a customer is given."""
        return f"https://{host_in_url(self.host)}:{self.port}/sub/{token}"

    def used_bytes(self, key: Key) -> int:
        """What a key has used in the present window of its traffic limit, as last sampled."""
        return self.store.used_bytes(key.uuid, window_start(key.limits.traffic_window, self.clock.now()))


def _facts(subscription: Subscription | None) -> dict[str, object]:
    return {} if subscription is None else {"created_at": subscription.created_at.isoformat()}
