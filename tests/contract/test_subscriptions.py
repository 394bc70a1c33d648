"""Subscriptions in every Store, and the use cases on them."""

from collections.abc import Iterator

import pytest
from tests.contract.test_store import add, key
from tests.fakes import FakeClock
from tests.support.databases import Database

from vpnkeys.domain.errors import KeyNotFound
from vpnkeys.domain.subscription import Subscription, hash_token
from vpnkeys.interfaces import Store
from vpnkeys.service.subscriptions import SubscriptionNotFound, SubscriptionService, TooManySubscriptions

ONE, TWO = key(1), key(2)


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    """A store with two keys."""
    found = database.open()
    add(found, ONE, TWO)
    yield found
    found.close()


@pytest.fixture
def subscriptions(store: Store) -> SubscriptionService:
    """The use cases."""
    return SubscriptionService(store, FakeClock(), "https://203.0.113.7:8000", store.keys)


def test_subscriptions_come_back_as_they_were(database: Database, store: Store) -> None:
    """By the hash of their token, one a key, seen by every other store at once; one that is gone stays gone."""
    other = database.open()
    assert other.subscriptions() == {}
    now = FakeClock().now()
    first, second = (Subscription(ONE.id, (ONE.id,), name * 64, now) for name in "ab")
    of_two = Subscription(TWO.id, (TWO.id,), "c" * 64, now)
    of_both = Subscription("both", (TWO.id, ONE.id), "d" * 64, now)
    for one in (first, of_two, of_both, second):
        with store.write() as transaction:
            transaction.put_subscription(one)
    assert store.subscriptions() == other.subscriptions() == {"b" * 64: second, "c" * 64: of_two, "d" * 64: of_both}
    for _ in range(2):
        with store.write() as transaction:
            transaction.delete_subscription(ONE.id)
            transaction.delete_subscription("both")
    assert store.subscriptions() == other.subscriptions() == {"c" * 64: of_two}
    other.close()


def test_a_token_finds_its_key_and_no_other_does(subscriptions: SubscriptionService) -> None:
    """Nor anything like it."""
    _, token = subscriptions.rotate(ONE)
    assert len(token) == 43
    assert subscriptions.find(token) == (ONE,)
    for wrong in ("", token[:-1], token + "x", token.swapcase(), hash_token(token), "\ud800"):
        assert subscriptions.find(wrong) == ()


def test_a_new_token_takes_the_place_of_the_old_one(subscriptions: SubscriptionService) -> None:
    """At once, for this key alone."""
    _, of_two = subscriptions.rotate(TWO)
    _, old = subscriptions.rotate(ONE)
    made, new = subscriptions.rotate(ONE)
    assert (subscriptions.find(old), subscriptions.find(new), subscriptions.find(of_two)) == ((), (ONE,), (TWO,))
    assert subscriptions.of(ONE) == made
    assert made.token_hash == hash_token(new) != new


def test_what_was_taken_away_is_found_no_more(subscriptions: SubscriptionService) -> None:
    """A second time there is nothing to take away."""
    _, token = subscriptions.rotate(ONE)
    subscriptions.revoke(ONE)
    assert (subscriptions.find(token), subscriptions.of(ONE)) == ((), None)
    with pytest.raises(SubscriptionNotFound):
        subscriptions.revoke(ONE)


def test_a_deleted_keys_subscription_goes_with_it(store: Store, subscriptions: SubscriptionService) -> None:
    """Its token finds nothing, and a key that is gone gets no new one."""
    _, token = subscriptions.rotate(ONE)
    with store.write() as transaction:
        transaction.delete(ONE.id)
    assert subscriptions.find(token) == ()
    assert store.subscriptions() == {}
    with pytest.raises(KeyNotFound):
        subscriptions.rotate(ONE)


def test_several_keys_have_one_token_together(subscriptions: SubscriptionService) -> None:
    """In the order asked for, each once; their own subscriptions are others, and stay when the shared one ends."""
    _, of_one = subscriptions.rotate(ONE)
    made, token = subscriptions.share([TWO.uuid, ONE.id, TWO.id])
    assert subscriptions.find(token) == (TWO, ONE)
    assert (subscriptions.shared(), subscriptions.of(TWO)) == ((made,), None)
    subscriptions.revoke_shared(made.id)
    assert (subscriptions.find(token), subscriptions.shared(), subscriptions.find(of_one)) == ((), (), (ONE,))
    for gone in (made.id, ONE.id, ""):
        with pytest.raises(SubscriptionNotFound):
            subscriptions.revoke_shared(gone)
    with pytest.raises(KeyNotFound):
        subscriptions.share([ONE.id, "nobody"])
    assert subscriptions.shared() == ()


def test_a_key_is_in_a_hundred_shared_ones_at_most(subscriptions: SubscriptionService) -> None:
    """All are kept in memory; its own is none of them, and neither are those of other keys."""
    made = [subscriptions.share([ONE.id, TWO.id] if number % 2 else [ONE.id])[0] for number in range(100)]
    for wanted in ([ONE.id], [TWO.id, ONE.uuid]):
        with pytest.raises(TooManySubscriptions, match=ONE.id):
            subscriptions.share(wanted)
    subscriptions.rotate(ONE)
    subscriptions.share([TWO.id])
    subscriptions.revoke_shared(made[0].id)
    subscriptions.share([ONE.id])
    assert len(subscriptions.shared()) == 101


def test_a_deleted_key_leaves_a_shared_subscription_and_the_last_ends_it(
    store: Store, subscriptions: SubscriptionService
) -> None:
    """One address for a family is of use as long as one of them has a key."""
    _, token = subscriptions.share([ONE.id, TWO.id])
    for gone, left in ((ONE, (TWO,)), (TWO, ())):
        with store.write() as transaction:
            transaction.delete(gone.id)
        assert subscriptions.find(token) == left
        assert [one.key_ids for one in subscriptions.shared()] == ([(TWO.id,)] if left else [])
    assert store.subscriptions() == {}


def test_the_audit_log_tells_of_it_and_not_the_token(store: Store, subscriptions: SubscriptionService) -> None:
    """Made, replaced, taken away: when, and nothing that opens anything."""
    tokens = [subscriptions.rotate(ONE)[1] for _ in range(2)]
    subscriptions.revoke(ONE)
    records = store.audit(3, subject=ONE.id)
    actions = [record.entry.action for record in records]
    assert actions == ["subscription.revoked", "subscription.rotated", "subscription.rotated"]
    at = {"created_at": FakeClock().now().isoformat()}
    assert [(dict(record.entry.before), dict(record.entry.after)) for record in records] == [
        (at, {}),
        (at, at),
        ({}, at),
    ]
    told = str(records)
    assert not [token for token in tokens if token in told or hash_token(token) in told]


def test_the_address_is_below_the_public_one(store: Store) -> None:
    """Whatever stands in front, and with its prefix."""
    subscriptions = SubscriptionService(store, FakeClock(), "https://vpn.example.com/panel", store.keys)
    assert subscriptions.url("t") == "https://vpn.example.com/panel/sub/t"
