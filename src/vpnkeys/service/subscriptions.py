"""Makes, finds, replaces and revokes subscriptions: a secret address for each customer, known by its token."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vpnkeys.domain.audit import Entry
from vpnkeys.domain.errors import NotFound, Rejected
from vpnkeys.domain.key import Key, find
from vpnkeys.domain.nodes import NodeState
from vpnkeys.domain.operator import NO_OPERATOR, Operator
from vpnkeys.domain.subscription import Subscription, hash_token, new_shared, new_subscription
from vpnkeys.interfaces import Clock, Store

MAX_SHARED_OF_KEY = 100
"""A key is in so many subscriptions of several keys at most: all subscriptions are kept in memory, and there are no
more keys than ports."""


class SubscriptionNotFound(NotFound):
    """Says that there is no such subscription."""

    code = "subscription_not_found"


class TooManySubscriptions(Rejected):
    """Says that a key is in as many subscriptions of several keys as it may be."""

    code = "too_many_subscriptions"


@dataclass(frozen=True, slots=True)
class SubscriptionService:
    """Implements the use cases about subscriptions. Their addresses begin with `base_url`.

    `keys` returns the keys as they are in force, with stops that the database could not store. `is_self_signed` returns
    whether the certificate at these addresses is one that most apps refuse.
    """

    store: Store
    clock: Clock
    base_url: str
    keys: Callable[[], tuple[Key, ...]]
    operator: Operator = NO_OPERATOR
    is_self_signed: Callable[[], bool] = lambda: False

    def of(self, key: Key) -> Subscription | None:
        """Return a key's own subscription, None when it has none."""
        return self._by_id().get(key.id)

    def shared(self) -> tuple[Subscription, ...]:
        """Return the subscriptions of several keys, oldest first."""
        found = (one for one in self.store.subscriptions().values() if one.is_shared)
        return tuple(sorted(found, key=lambda one: (one.created_at, one.id)))

    def find(self, token: str) -> tuple[Key, ...]:
        """Return the keys of the subscription with this token, in their order; none for an unknown token.

        Keys of lost nodes are left out where there are others.
        """
        # Found by its hash, so that the time of the search says nothing about how much of a guess was right.
        subscription = self.store.subscriptions().get(hash_token(token))
        if subscription is None:
            return ()
        known = {key.id: key for key in self.keys()}
        lost = {node.ref for node in self.store.nodes() if node.state is NodeState.LOST}
        found = tuple(known[key_id] for key_id in subscription.key_ids if key_id in known)
        # Not an empty one: its address would seem to be revoked, and the node may be found again.
        return tuple(key for key in found if key.node not in lost) or found

    def share(self, ids_or_uuids: Iterable[str]) -> tuple[Subscription, str]:
        """Make a subscription for several keys; return it and its token, of which only a hash is kept.

        The keys' own subscriptions stay. Raises KeyNotFound, TooManySubscriptions.
        """
        with self.store.write() as transaction:
            known = transaction.keys()
            key_ids = tuple(dict.fromkeys(find(known, one).id for one in ids_or_uuids))
            self._refuse_crowded(key_ids)
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
        self._delete(key.id, "This key has no subscription; POST /api/keys/{key_id}/subscription makes one.")

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

    def _refuse_crowded(self, key_ids: Iterable[str]) -> None:
        counted = Counter(key_id for one in self.shared() for key_id in one.key_ids)
        for key_id in key_ids:
            if counted[key_id] >= MAX_SHARED_OF_KEY:
                raise TooManySubscriptions(
                    f"The key {key_id} is in {MAX_SHARED_OF_KEY} subscriptions of several keys, the most that it may; "
                    "revoke some that are not used (GET /api/subscriptions)."
                )

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
