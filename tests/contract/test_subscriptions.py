"""Subscriptions in every Store, and the use cases on them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.test_store import Database, add, in_memory, key, sqlite
from tests.fakes import FakeClock

from vpnkeys.domain.errors import KeyNotFound
from vpnkeys.domain.subscription import Subscription, hash_token
from vpnkeys.interfaces import Store
from vpnkeys.service.subscriptions import SubscriptionNotFound, SubscriptionService

ONE, TWO = key(1), key(2)


@pytest.fixture(params=["fake", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Each kind of database, empty."""
    return in_memory() if request.param == "fake" else sqlite(tmp_path / "vpnkeys.db")


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
    return SubscriptionService(store, FakeClock(), "203.0.113.7", 8000, store.keys)


def test_subscriptions_come_back_as_they_were(database: Database, store: Store) -> None:
    """By the hash of their token, one a key, seen by every other store at once; one that is gone stays gone."""
    other = database.open()
    assert other.subscriptions() == {}
    first, second = (Subscription(ONE.id, name * 64, FakeClock().now()) for name in "ab")
    of_two = Subscription(TWO.id, "c" * 64, FakeClock().now())
    for one in (first, of_two, second):
        with store.write() as transaction:
            transaction.put_subscription(one)
    assert store.subscriptions() == other.subscriptions() == {"b" * 64: second, "c" * 64: of_two}
    for _ in range(2):
        with store.write() as transaction:
            transaction.delete_subscription(ONE.id)
    assert store.subscriptions() == other.subscriptions() == {"c" * 64: of_two}
    other.close()


def test_a_token_finds_its_key_and_no_other_does(subscriptions: SubscriptionService) -> None:
    """Nor anything like it."""
    _, token = subscriptions.rotate(ONE)
    assert len(token) == 43
    assert subscriptions.find(token) == ONE
    for wrong in ("", token[:-1], token + "x", token.swapcase(), hash_token(token), "\ud800"):
        assert subscriptions.find(wrong) is None


def test_a_new_token_takes_the_place_of_the_old_one(subscriptions: SubscriptionService) -> None:
    """At once, for this key alone."""
    _, of_two = subscriptions.rotate(TWO)
    _, old = subscriptions.rotate(ONE)
    made, new = subscriptions.rotate(ONE)
    assert (subscriptions.find(old), subscriptions.find(new), subscriptions.find(of_two)) == (None, ONE, TWO)
    assert subscriptions.of(ONE) == made
    assert made.token_hash == hash_token(new) != new


def test_what_was_taken_away_is_found_no_more(subscriptions: SubscriptionService) -> None:
    """A second time there is nothing to take away."""
    _, token = subscriptions.rotate(ONE)
    subscriptions.revoke(ONE)
    assert (subscriptions.find(token), subscriptions.of(ONE)) == (None, None)
    with pytest.raises(SubscriptionNotFound):
        subscriptions.revoke(ONE)


def test_a_deleted_keys_subscription_goes_with_it(store: Store, subscriptions: SubscriptionService) -> None:
    """Its token finds nothing, and a key that is gone gets no new one."""
    _, token = subscriptions.rotate(ONE)
    with store.write() as transaction:
        transaction.delete(ONE.id)
    assert subscriptions.find(token) is None
    assert store.subscriptions() == {}
    with pytest.raises(KeyNotFound):
        subscriptions.rotate(ONE)


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


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("203.0.113.7", "https://203.0.113.7:8000/sub/t"),
        ("2001:db8::1", "https://[2001:db8::1]:8000/sub/t"),
        ("vpn.example.com", "https://vpn.example.com:8000/sub/t"),
    ],
)
def test_the_address_is_the_servers(store: Store, host: str, url: str) -> None:
    """An IPv6 address stands in brackets."""
    assert SubscriptionService(store, FakeClock(), host, 8000, store.keys).url("t") == url
