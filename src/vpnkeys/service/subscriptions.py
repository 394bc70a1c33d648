"""Makes, finds, replaces and revokes subscriptions: a secret address for each customer, known by its token."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vpnkeys.domain.audit import Entry
from vpnkeys.domain.errors import NotFound
from vpnkeys.domain.key import Key, find
from vpnkeys.domain.operator import NO_OPERATOR, Operator
from vpnkeys.domain.subscription import Subscription, hash_token, new_shared, new_subscription
from vpnkeys.interfaces import Clock, Store


class SubscriptionNotFound(NotFound):
    """Says that there is no such subscription."""

    code = "subscription_not_found"


@dataclass(frozen=True, slots=True)
class SubscriptionService:
    """Implements the use cases about subscriptions. Their addresses begin with `base_url`.

    `keys` returns the keys as they are in force, with stops that the database could not store.
    """

    store: Store
    clock: Clock
    base_url: str
    keys: Callable[[], tuple[Key, ...]]
    operator: Operator = NO_OPERATOR

    def of(self, key: Key) -> Subscription | None:
        """Return a key's own subscription, None when it has none."""
        return self._by_id().get(key.id)

    def shared(self) -> tuple[Subscription, ...]:
        """Return the subscriptions of several keys, oldest first."""
        found = (one for one in self.store.subscriptions().values() if one.is_shared)
        return tuple(sorted(found, key=lambda one: (one.created_at, one.id)))

    def find(self, token: str) -> tuple[Key, ...]:
        """Return the keys of the subscription with this token, in their order; none for an unknown token."""
        # Found by its hash, so that the time of the search says nothing about how much of a guess was right.
        subscription = self.store.subscriptions().get(hash_token(token))
        if subscription is None:
            return ()
        known = {key.id: key for key in self.keys()}
        return tuple(known[key_id] for key_id in subscription.key_ids if key_id in known)

    def share(self, ids_or_uuids: Iterable[str]) -> tuple[Subscription, str]:
        """Make a subscription for several keys; return it and its token, of which only a hash is kept.

        The keys' own subscriptions stay. Raises KeyNotFound.
        """
        with self.store.write() as transaction:
            known = transaction.keys()
            key_ids = tuple(dict.fromkeys(find(known, one).id for one in ids_or_uuids))
            new, token = new_shared(key_ids, self.clock.now())
            transaction.put_subscription(new)
            transaction.record(Entry("subscription.shared", new.id, after=_facts(new)))
        return new, token

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
        """Delete a key's own subscription; its token stops working at once. Raises SubscriptionNotFound."""
        self._delete(key.id, "This key has no subscription; POST makes one.")

    def revoke_shared(self, subscription_id: str) -> None:
        """Delete a subscription of several keys; its token stops working at once. Raises SubscriptionNotFound."""
        found = self._by_id().get(subscription_id)
        is_shared = found is not None and found.is_shared
        message = "There is no such subscription of several keys; GET /api/subscriptions lists those that are."
        self._delete(subscription_id if is_shared else "", message)

    def _delete(self, subscription_id: str, else_say: str) -> None:
        with self.store.write() as transaction:
            old = self._by_id().get(subscription_id)
            if old is None:
                raise SubscriptionNotFound(else_say)
            transaction.delete_subscription(old.id)
            transaction.record(Entry("subscription.revoked", old.id, _facts(old)))

    def _by_id(self) -> dict[str, Subscription]:
        return {one.id: one for one in self.store.subscriptions().values()}

    def url(self, token: str) -> str:
        """Return the address for the customer."""
        return f"{self.base_url}/sub/{token}"


def _facts(subscription: Subscription | None) -> dict[str, object]:
    if subscription is None:
        return {}
    keys = {"keys": list(subscription.key_ids)} if subscription.is_shared else {}
    return {"created_at": subscription.created_at.isoformat(), **keys}
