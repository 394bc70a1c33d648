"""The same request again gives the first answer; another request does not."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fake_store import FakeStore
from tests.fakes import FakeClock
from tests.strategies import key_lists, keys
from tests.support.memory import World

from vpnkeys.domain.change import KeptAnswer, KeyChanges
from vpnkeys.domain.errors import IdempotencyKeyReused, KeyNotFound, XrayUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits
from vpnkeys.domain.making import Draft
from vpnkeys.service.change.storage import write_keys
from vpnkeys.service.idempotency import Repeat
from vpnkeys.service.limits.extending import extend
from vpnkeys.service.rotation import Renewal, rotate

DRAFT = Draft("Мария", "a note", Limits(traffic_bytes=5, max_devices=2))


def remember(store: FakeStore, repeat: Repeat, key: Key, at: datetime) -> None:
    """Make a key and remember it, in one commit."""
    changes = repeat.remember(KeyChanges(insert=(key,)), at)
    with store.write() as transaction:
        write_keys(transaction, changes)


@given(keys(), st.text(), st.floats(0, 24))
def test_the_first_answer_again(key: Key, idempotency_key: str, hours: float) -> None:
    """To the last field of the key, for 24 hours."""
    store, clock = FakeStore(), FakeClock()
    repeat = Repeat.of("me", idempotency_key, DRAFT)
    assert repeat.find(store, clock.now(), store.keys) is None
    remember(store, repeat, key, clock.now())
    assert store.keys() == (key,)
    clock.advance(hours=hours)
    assert Repeat.of("me", idempotency_key, DRAFT).find(store, clock.now(), store.keys) == (key,)


@given(keys())
def test_a_key_of_another_process_that_came_just_now_is_there(key: Key) -> None:
    """Whoever finds the answer finds the key that came with it, and does not take it for deleted."""
    clock, repeat = FakeClock(), Repeat.of("me", "order-1", DRAFT)

    class Late(FakeStore):
        """A store in which another process writes at the last moment."""

        def answered(self, key_hash: str, since: datetime) -> KeptAnswer | None:
            """Return what that process has written."""
            remember(self, repeat, key, clock.now())
            return super().answered(key_hash, since)

    store = Late()
    assert repeat.find(store, clock.now(), store.keys) == (key,)


@given(key_lists().filter(lambda some: len(some) > 1))
def test_after_a_day_it_is_a_new_request(some: list[Key]) -> None:
    """Another key is made, and remembered in the place of the first."""
    store, clock = FakeStore(), FakeClock()
    repeat = Repeat.of("me", "order-1", DRAFT)
    remember(store, repeat, some[0], clock.now())
    clock.advance(hours=24, seconds=1)
    assert repeat.find(store, clock.now(), store.keys) is None
    remember(store, repeat, some[1], clock.now())
    assert repeat.find(store, clock.now(), store.keys) == (some[1],)


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
    remember(store, Repeat.of("me", "order-1", DRAFT), key, clock.now())
    with pytest.raises(IdempotencyKeyReused):
        Repeat.of("me", "order-1", other).find(store, clock.now(), store.keys)


def test_the_same_request_twice_makes_one_key() -> None:
    """Also when both come at once: the second waits for the first, and gets its answer."""
    world = World()
    repeat = Repeat.of("me", "order-1", DRAFT)
    with ThreadPoolExecutor(2) as pool:
        made = {*pool.map(lambda _: world.keys.create(DRAFT, repeat), range(4))}
    assert made == {*world.keys.list()}
    assert len(made) == 1
    with pytest.raises(IdempotencyKeyReused):
        world.keys.create(Draft("other"), Repeat.of("me", "order-1", Draft("other")))


def test_several_keys_of_one_request_are_made_once() -> None:
    """Also when both come at once; when one of them is gone the answer would not be true."""
    world = World()
    drafts = [Draft("one"), Draft("two")]
    repeat = Repeat.of("me", "order-1", drafts)
    with ThreadPoolExecutor(2) as pool:
        made = {*pool.map(lambda _: world.keys.create_many(drafts, repeat), range(4))}
    assert made == {world.keys.list()}
    with pytest.raises(IdempotencyKeyReused):
        world.keys.create(drafts[0], Repeat.of("me", "order-1", drafts[0]))
    world.keys.delete(world.keys.list()[0].id)
    with pytest.raises(KeyNotFound, match="new Idempotency-Key"):
        world.keys.create_many(drafts, repeat)


def test_the_same_rotation_twice_gives_one_new_link() -> None:
    """Also by the UUID that the key had before; when it got another link since, that one works."""
    world = World()
    was = world.make()
    renewal, repeat = Renewal(uuid=True, short_id=True), Repeat.of("me", "order-1", "rotate")
    with ThreadPoolExecutor(2) as pool:
        (rotated,) = {*pool.map(lambda _: rotate(world.keys, was.uuid, renewal, repeat), range(4))}
    assert world.keys.list() == (rotated,)
    assert rotated.uuid != was.uuid
    again = rotate(world.keys, was.id, renewal)
    assert rotate(world.keys, was.uuid, renewal, repeat) == again


def test_the_same_extension_twice_adds_its_days_once() -> None:
    """A customer who has paid once has not paid twice."""
    world = World()
    ends = world.clock.now() + timedelta(days=5)
    ids = [world.make(Limits(expires_at=ends)).id for _ in range(2)]
    repeat = Repeat.of("me", "order-1", ids)
    extended = [extend(world.keys, ids, timedelta(days=30), repeat) for _ in range(3)]
    assert extended == [world.keys.list()] * 3
    assert [key.limits.expires_at for key in extended[0]] == [ends + timedelta(days=30)] * 2


def test_a_request_that_failed_is_carried_out_when_it_comes_again() -> None:
    """Nothing was made, so there is no answer to repeat."""
    world = World()
    was, repeat = world.make(), Repeat.of("me", "order-1", "rotate")
    world.node.end_xray()
    with pytest.raises(XrayUnavailable):
        rotate(world.keys, was.id, Renewal(uuid=True), repeat)
    assert world.keys.list() == (was,)
    world.node.start_xray()
    world.keys.reconciler.reconcile()
    rotated = rotate(world.keys, was.id, Renewal(uuid=True), repeat)
    assert world.keys.list() == (rotated,) != (was,)


def test_nothing_that_was_sent_is_kept() -> None:
    """Neither the Idempotency-Key nor the body can be read in what is kept."""
    kept = repr(Repeat.of("me", "order-1017", DRAFT))
    assert "order-1017" not in kept
    assert "Мария" not in kept


@given(st.text(), st.text())
def test_equal_requests_are_one_and_others_are_not(one: str, other: str) -> None:
    """Any text can be an Idempotency-Key."""
    assert (Repeat.of("me", one, DRAFT) == Repeat.of("me", other, DRAFT)) == (one == other)


def test_two_tokens_may_send_the_same_key() -> None:
    """Each gets a key of its own, and the same one again."""
    world = World()
    mine, another_s = (Repeat.of(who, "order-1", DRAFT) for who in ("me", "another"))
    made = [world.keys.create(DRAFT, repeat) for repeat in (mine, another_s, mine, another_s)]
    assert made[:2] == made[2:]
    assert {*made} == {*world.keys.list()}
    assert len(world.keys.list()) == 2
    assert Repeat.of("me", "order-1", DRAFT) != Repeat.of("m", "eorder-1", DRAFT)


def test_a_key_that_was_deleted_since_is_not_given_again() -> None:
    """The sender learns that it is gone; a new Idempotency-Key makes another key."""
    world = World()
    repeat = Repeat.of("me", "order-1", DRAFT)
    world.keys.delete(world.keys.create(DRAFT, repeat).id)
    for _ in range(2):
        with pytest.raises(KeyNotFound, match="new Idempotency-Key"):
            world.keys.create(DRAFT, repeat)
    assert world.keys.list() == ()
    assert world.keys.create(DRAFT, Repeat.of("me", "order-2", DRAFT)) in world.keys.list()


def test_a_key_with_a_new_link_is_given_as_it_is_now() -> None:
    """The link of the first answer works no more; the key is the same, and no second one is made."""
    world = World()
    repeat = Repeat.of("me", "order-1", DRAFT)
    key = world.keys.create(DRAFT, repeat)
    renewed = rotate(world.keys, key.id, Renewal(uuid=True, short_id=True))
    assert renewed.uuid != key.uuid
    assert world.keys.create(DRAFT, repeat) == renewed
    assert len(world.keys.list()) == 1
