"""The same request again gives the first answer; another request does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fake_store import FakeStore
from tests.fakes import FakeClock
from tests.strategies import keys

from vpnkeys.domain.errors import IdempotencyKeyReused
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits
from vpnkeys.service.idempotency import Repeat
from vpnkeys.service.keys import Draft

DRAFT = Draft("Мария", "a note", Limits(traffic_bytes=5, max_devices=2))


def never() -> Key:
    """What must not be asked for."""
    raise AssertionError("made twice")


@given(keys(), st.text(), st.floats(0, 24))
def test_the_first_answer_again(key: Key, idempotency_key: str, hours: float) -> None:
    """To the last field of the key, for 24 hours, and nothing is made."""
    store, clock = FakeStore(), FakeClock()
    repeat = Repeat.of(idempotency_key, DRAFT)
    with store.write() as transaction:
        assert repeat.find(transaction, clock.now()) is None
        assert repeat.once(transaction, clock.now(), lambda: key) == key
    clock.advance(hours=hours)
    with store.write() as transaction:
        assert Repeat.of(idempotency_key, DRAFT).once(transaction, clock.now(), never) == key
        assert repeat.find(transaction, clock.now()) == key


@given(keys(), keys())
def test_after_a_day_it_is_a_new_request(first: Key, second: Key) -> None:
    """Another key is made, and remembered in the place of the first."""
    store, clock = FakeStore(), FakeClock()
    repeat = Repeat.of("order-1", DRAFT)
    with store.write() as transaction:
        repeat.once(transaction, clock.now(), lambda: first)
    clock.advance(hours=24, seconds=1)
    with store.write() as transaction:
        assert repeat.find(transaction, clock.now()) is None
        assert repeat.once(transaction, clock.now(), lambda: second) == second
        assert repeat.once(transaction, clock.now(), never) == second


@pytest.mark.parametrize(
    "other",
    [
        Draft("Мария", "a note"),
        Draft("Мария", "a note", Limits(traffic_bytes=6, max_devices=2)),
        Draft("Мария", "another", DRAFT.limits),
        Draft("Мария", "a note", DRAFT.limits, is_active=False),
        Draft("maria", "a note", DRAFT.limits),
    ],
)
@given(key=keys())
def test_another_body_under_the_same_key_is_refused(other: Draft, key: Key) -> None:
    """Whatever differs: it would be a mistake to give the first answer, and a mistake to make another key."""
    store, clock = FakeStore(), FakeClock()
    with store.write() as transaction:
        Repeat.of("order-1", DRAFT).once(transaction, clock.now(), lambda: key)
        with pytest.raises(IdempotencyKeyReused):
            Repeat.of("order-1", other).find(transaction, clock.now())
        with pytest.raises(IdempotencyKeyReused):
            Repeat.of("order-1", other).once(transaction, clock.now(), never)


def test_nothing_that_was_sent_is_kept() -> None:
    """Neither the Idempotency-Key nor the body can be read in what is kept."""
    kept = repr(Repeat.of("order-1017", DRAFT))
    assert "order-1017" not in kept
    assert "Мария" not in kept


@given(st.text(), st.text())
def test_equal_requests_are_one_and_others_are_not(one: str, other: str) -> None:
    """Any text can be an Idempotency-Key."""
    assert (Repeat.of(one, DRAFT) == Repeat.of(other, DRAFT)) == (one == other)
