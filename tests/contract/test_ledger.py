"""What every ledger promises: the one in memory, and SQL on SQLite and PostgreSQL."""

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.test_store import NOON, add, key
from tests.fakes import FakeClock, FakeNode
from tests.support.databases import Database

from vpnkeys.api.convert.traffic import traffic_answer
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import WindowUsage
from vpnkeys.domain.plan import FileState, FileView
from vpnkeys.domain.traffic import Bytes, Samples, Total
from vpnkeys.interfaces import Store
from vpnkeys.service.traffic import TrafficService, count

ONE, TWO = key(1), key(2)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
FIRST, NEXT, THIRD = "life-1", "life-2", "life-3"


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    """A store with two keys."""
    found = database.open()
    add(found, ONE, TWO)
    yield found
    found.close()


def merge(store: Store, epoch: str, seconds: float, **used: tuple[int, int]) -> None:
    """A sample so many seconds after noon; `one=(up, down)` is what the first key's counters said."""
    uuids = {"one": ONE.uuid, "two": TWO.uuid}
    usage = {uuids.get(name, name): Bytes(*counters) for name, counters in used.items()}
    with store.write() as transaction:
        transaction.ledger.merge(Samples(epoch, usage), NOON + seconds * SECOND)


def end(store: Store, epoch: str, seconds: float) -> None:
    """We ended this life."""
    with store.write() as transaction:
        transaction.ledger.end_epoch(epoch, NOON + seconds * SECOND)


def reset(store: Store, of: Key = ONE, at: datetime = NOON) -> None:
    """The total starts again."""
    with store.write() as transaction:
        transaction.ledger.reset(of.uuid, at)


def total(store: Store, of: Key = ONE) -> int:
    """What a key has used."""
    return store.traffic(of.uuid).total_bytes


def gaps(store: Store, of: Key = ONE) -> list[tuple[float, float]]:
    """The gaps in seconds after noon."""
    found = store.traffic(of.uuid).gaps
    return [((gap.since - NOON) / SECOND, (gap.until - NOON) / SECOND) for gap in found]


def in_hours(store: Store, of: Key = ONE) -> int:
    """The sum of all hours."""
    points = store.history(of.uuid, NOON - 1000 * HOUR, NOON + 1000 * HOUR)
    return sum(point.usage.total for point in points)


def test_nothing_is_used_at_first(store: Store) -> None:
    """Nor for a key that Xray has not counted yet, which it leaves out."""
    assert (total(store), gaps(store)) == (0, [])
    merge(store, FIRST, 0)
    assert (total(store), gaps(store)) == (0, [])


def test_the_order_of_samples_makes_no_difference(store: Store) -> None:
    """Three samples of one life in every order, one of them twice: always the highest of each direction."""
    for number, order in enumerate(permutations([(10, 1), (20, 5), (15, 30)])):
        life = f"life-{number}"
        for seconds, counters in enumerate([*order, order[0]]):
            merge(store, life, number * 10 + seconds, one=counters)
        assert total(store) == (20 + 30) * (number + 1)
    assert in_hours(store) == total(store)


def test_each_key_has_its_own_account(store: Store) -> None:
    """What is missing in a sample is not lost."""
    merge(store, FIRST, 0, one=(1, 2), two=(30, 40))
    merge(store, FIRST, 1, two=(31, 41))
    assert (total(store, ONE), total(store, TWO)) == (3, 72)


def test_lives_add_up(store: Store) -> None:
    """A restarted Xray counts from zero, also when it has passed the old value before it is sampled."""
    merge(store, FIRST, 0, one=(100, 100))
    merge(store, NEXT, 1, one=(500, 500))
    merge(store, THIRD, 2, one=(1, 1))
    assert total(store) == 1202


def test_unknown_keys_are_left_out(store: Store) -> None:
    """Counters outlive their key in Xray; a removed key's account is gone, and nobody inherits it."""
    merge(store, FIRST, 0, one=(7, 7), stranger=(99, 99))
    with store.write() as transaction:
        transaction.delete(ONE.id)
    merge(store, FIRST, 1, one=(8, 8), two=(1, 1))
    add(store, key(3, name=ONE.name, port=ONE.port))
    assert total(store, key(3)) == 0
    assert total(store, TWO) == 2


def test_a_life_that_ended_by_itself_is_a_gap(store: Store) -> None:
    """From its last sample to the first of the next; what was sampled stays."""
    merge(store, FIRST, 0, one=(1, 1))
    merge(store, FIRST, 10, one=(5, 5))
    merge(store, NEXT, 25)
    assert (total(store), gaps(store)) == (10, [(10, 25)])


def test_a_life_that_we_ended_is_no_gap(store: Store) -> None:
    """Its last sample was taken when nothing passed any more."""
    merge(store, FIRST, 0, one=(1, 1))
    end(store, FIRST, 5)
    merge(store, NEXT, 7)
    assert gaps(store) == []


def test_a_gap_before_its_birth_is_not_a_keys(store: Store) -> None:
    """It can have lost nothing then."""
    merge(store, FIRST, 0)
    merge(store, NEXT, 25)
    add(store, key(3, created_at=NOON + 60 * SECOND))
    merge(store, THIRD, 100)
    assert gaps(store, key(3)) == [(0 + 25, 100)]
    assert gaps(store, ONE) == [(0, 25), (25, 100)]


def test_a_late_sample_of_an_old_life_counts_and_ends_nothing(store: Store) -> None:
    """Somebody read the counters before Xray was restarted, and merged them after: the bytes are in, the new life on.

    The gap begins where the old life was seen last, which is that late sample.
    """
    merge(store, FIRST, 0, one=(1, 1))
    merge(store, NEXT, 10, one=(2, 2))
    merge(store, FIRST, 4, one=(50, 50))
    merge(store, NEXT, 11, one=(3, 3))
    assert total(store) == 106
    assert gaps(store) == [(4, 10)]
    merge(store, FIRST, 2, one=(50, 50))
    assert gaps(store) == [(4, 10)]


def test_a_late_sample_of_a_life_nobody_knew_ends_nothing_for_long(store: Store) -> None:
    """The present life is sampled again, and so it lives; the other one has ended."""
    merge(store, NEXT, 10, one=(2, 2))
    merge(store, FIRST, 4, one=(50, 50))
    merge(store, NEXT, 11, one=(3, 3))
    assert total(store) == 106
    assert gaps(store) == [(4, 11)]
    merge(store, NEXT, 12)
    assert gaps(store) == [(4, 11)]


def test_a_life_that_we_ended_may_answer_once_more(store: Store) -> None:
    """Between its last sample and its death others may sample it; as long as nothing was added, nothing is missing."""
    merge(store, FIRST, 0, one=(1, 1))
    end(store, FIRST, 5)
    merge(store, FIRST, 6, one=(1, 1))
    merge(store, NEXT, 7)
    assert gaps(store) == []


def test_a_life_that_we_ended_and_that_goes_on_is_a_life(store: Store) -> None:
    """It was not ended after all; when it dies by itself then, that is a gap."""
    merge(store, FIRST, 0, one=(1, 1))
    end(store, FIRST, 5)
    merge(store, FIRST, 6, one=(9, 9))
    merge(store, NEXT, 8)
    assert (total(store), gaps(store)) == (18, [(6, 8)])


def test_ending_an_unknown_life_is_nothing(store: Store) -> None:
    """It was never sampled, so that there is nothing to note."""
    end(store, FIRST, 0)
    merge(store, NEXT, 1)
    assert gaps(store) == []


def test_a_reset_starts_from_zero_once(store: Store) -> None:
    """Samples merged again after it bring nothing back; later bytes count; another key's total is its own."""
    merge(store, FIRST, 0, one=(10, 10), two=(1, 1))
    reset(store)
    merge(store, FIRST, 0, one=(10, 10))
    assert total(store) == 0
    merge(store, FIRST, 1, one=(15, 10))
    merge(store, NEXT, 2, one=(1, 1))
    assert (total(store), total(store, TWO)) == (7, 2)
    reset(store)
    reset(store)
    assert (total(store), total(store, TWO)) == (0, 2)


def test_an_imported_account_goes_on(store: Store) -> None:
    """What was counted elsewhere comes first; a reset takes it away too."""
    with store.write() as transaction:
        transaction.ledger.open_account(ONE.uuid, 1000)
    merge(store, FIRST, 0, one=(1, 1))
    assert total(store) == 1002
    reset(store)
    assert total(store) == 0


def test_an_imported_account_may_be_in_a_window(store: Store) -> None:
    """What was counted elsewhere counts in the windows of its time, once, and no more after a reset."""
    with store.write() as transaction:
        transaction.ledger.open_account(ONE.uuid, 1000, NOON)
        transaction.ledger.open_account(TWO.uuid, 0, NOON)
    merge(store, FIRST, 0, one=(1, 1))
    assert (total(store), total(store, TWO)) == (1002, 0)
    assert store.used_bytes({ONE.uuid: NOON, TWO.uuid: NOON}) == {ONE.uuid: 1002, TWO.uuid: 0}
    assert store.used_bytes({ONE.uuid: NOON + HOUR}) == {ONE.uuid: 0}
    reset(store)
    assert (total(store), store.used_bytes({ONE.uuid: NOON})) == (0, {ONE.uuid: 0})


def test_an_imported_account_beside_what_a_deleted_one_left(store: Store) -> None:
    """A key may come back under a UUID whose counters Xray still has: only what is new is added."""
    with store.write() as transaction:
        transaction.ledger.open_account(ONE.uuid, 1000)
        transaction.ledger.start_from(Samples(FIRST, {ONE.uuid: Bytes(100, 200)}))
    merge(store, FIRST, 0, one=(101, 200))
    assert total(store) == 1001


def test_a_key_starts_from_what_a_deleted_one_left(store: Store) -> None:
    """Xray goes on counting where it was; only what is new counts, also in the window and over a restart of Xray."""
    with store.write() as transaction:
        transaction.ledger.start_from(Samples(FIRST, {ONE.uuid: Bytes(100, 200)}))
    assert total(store) == 0
    merge(store, FIRST, 0, one=(100, 200))
    assert (total(store), store.used_bytes({ONE.uuid: NOON})[ONE.uuid]) == (0, 0)
    merge(store, FIRST, 1, one=(101, 203))
    assert (total(store), store.used_bytes({ONE.uuid: NOON})[ONE.uuid]) == (4, 4)
    merge(store, NEXT, 2, one=(5, 5))
    assert total(store) == 14


def test_hours_add_up_to_what_was_used(store: Store) -> None:
    """Each byte is in the hour of the sample that found it, and in no other."""
    merge(store, FIRST, 0, one=(10, 20))
    merge(store, FIRST, 3599, one=(11, 20))
    merge(store, FIRST, 3600, one=(11, 25))
    merge(store, NEXT, 2 * 3600, one=(1, 1))
    merge(store, FIRST, 3601, one=(11, 26))
    points = store.history(ONE.uuid, NOON, NOON + 5 * HOUR)
    assert [(point.begin, point.usage) for point in points] == [
        (NOON, Bytes(11, 20)),
        (NOON + HOUR, Bytes(0, 6)),
        (NOON + 2 * HOUR, Bytes(1, 1)),
    ]
    assert in_hours(store) == total(store)


_SAMPLES = st.tuples(st.integers(0, 2), st.integers(0, 100), st.integers(0, 10**6), st.integers(0, 10**6))


@given(samples=st.lists(_SAMPLES, max_size=12))
@settings(
    max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)  # emptied each time
def test_any_samples_are_their_maximum_by_life(store: Store, samples: list[tuple[int, int, int, int]]) -> None:
    """In whatever order, at whatever times of day: the sum over lives of the highest of each; no total ever falls."""
    with store.write() as transaction:
        transaction.delete(ONE.id)
        transaction.insert(ONE)
    highest: dict[str, Bytes] = {}
    before = 0
    for life, seconds, up, down in samples:
        epoch = f"life-{life}"
        merge(store, epoch, seconds * 100, one=(up, down))
        seen = highest.get(epoch, Bytes(0, 0))
        highest[epoch] = Bytes(max(seen.up, up), max(seen.down, down))
        assert total(store) == sum(used.total for used in highest.values()) >= before
        before = total(store)
    assert in_hours(store) == before


def test_a_clock_set_back_an_hour_costs_no_byte(store: Store) -> None:
    """Whenever samples say they were taken, counting goes on, a reset included, and the next life is known as new."""
    clock, node = FakeClock(NOON), FakeNode(file=FileView(FileState.OK, {}))
    node.start_xray()
    traffic = TrafficService(store, node, clock)
    node.counters[ONE.uuid] = Bytes(100, 100)
    assert asyncio.run(traffic.sampled(ONE)).total_bytes == 200
    clock.advance(hours=-1)
    node.counters[ONE.uuid] = Bytes(110, 110)
    assert asyncio.run(traffic.sampled(ONE)).total_bytes == 220
    traffic.reset(ONE)
    node.counters[ONE.uuid] = Bytes(111, 110)
    assert asyncio.run(traffic.sampled(ONE)).total_bytes == 1
    node.start_xray()
    clock.advance(seconds=1)
    node.counters[ONE.uuid] = Bytes(5, 5)
    assert asyncio.run(traffic.sampled(ONE)).total_bytes == 11
    assert in_hours(store) == 231
    assert all(gap.since <= gap.until for gap in asyncio.run(traffic.sampled(TWO)).gaps)


def test_huge_counters_stay_exact_to_the_json(store: Store) -> None:
    """Beyond 2**53, where a float would begin to round: up to the last byte, to the API's answer."""
    node = FakeNode(file=FileView(FileState.OK, {}))
    node.start_xray()
    for used in (2**53 + 1, 2**62 - 1):
        node.counters[ONE.uuid] = Bytes(used, used - 3)
        count(store, node, FakeClock(NOON))
        said = traffic_answer(ONE, store.traffic(ONE.uuid), WindowUsage(None, None, None)).model_dump_json()
        assert json.loads(said)["total_bytes"] == 2 * used - 3
        assert f'"total_bytes":{2 * used - 3},' in said


def test_totals_and_history_of_all_are_the_sum_of_the_keys(store: Store) -> None:
    """Whatever was counted, reset or never used."""
    merge(store, FIRST, 0, one=(10, 100), two=(1, 2))
    merge(store, FIRST, 3600, one=(20, 300), two=(1, 2))
    reset(store, TWO, NOON + 2 * HOUR)
    merge(store, NEXT, 7200, two=(5, 5))
    assert store.totals() == {
        one.uuid: Total(store.traffic(one.uuid).total_bytes, store.traffic(one.uuid).last_seen_at) for one in (ONE, TWO)
    }
    assert [total(store, ONE), total(store, TWO)] == [320, 10]
    points = store.history(None, NOON - HOUR, NOON + 3 * HOUR)
    assert [(point.begin, point.usage) for point in points] == [
        (NOON, Bytes(11, 102)),
        (NOON + HOUR, Bytes(10, 200)),
        (NOON + 2 * HOUR, Bytes(5, 5)),
    ]


def test_many_keys_are_read_at_once(store: Store) -> None:
    """From different times, after a reset, without an account, and unknown; the same as each by itself."""
    merge(store, FIRST, -3700, one=(100, 0), two=(1000, 0))
    merge(store, FIRST, 0, one=(100, 7), two=(1000, 20))
    reset(store, TWO, NOON + SECOND)
    merge(store, FIRST, 2, one=(100, 7), two=(1000, 25))
    day = NOON.replace(hour=0)
    for since in (None, day, NOON):
        used = store.used_bytes({ONE.uuid: since, TWO.uuid: since, "stranger": since})
        assert used == {ONE.uuid: 7 if since == NOON else 107, TWO.uuid: 5, "stranger": 0}
    assert store.used_bytes({ONE.uuid: NOON, TWO.uuid: None}) == {ONE.uuid: 7, TWO.uuid: 5}
    assert store.used_bytes({}) == {}


def test_a_fresh_sample_counts_before_it_is_merged(store: Store) -> None:
    """As it would after it: of its own life, what is new in it; and nothing is stored."""
    merge(store, FIRST, 0, one=(10, 10), two=(5, 5))
    since = {ONE.uuid: NOON, TWO.uuid: None}
    for fresh, used in [
        (Samples(FIRST, {ONE.uuid: Bytes(15, 10), "stranger": Bytes(1, 1)}), (25, 10)),
        (Samples(FIRST, {ONE.uuid: Bytes(1, 1), TWO.uuid: Bytes(4, 6)}), (20, 11)),
        (Samples(NEXT, {ONE.uuid: Bytes(3, 3)}), (26, 10)),
    ]:
        assert store.used_bytes(since, [fresh]) == dict(zip(since, used, strict=True))
    assert store.used_bytes(since) == {ONE.uuid: 20, TWO.uuid: 10}


def test_more_keys_than_a_statement_holds_are_read(store: Store) -> None:
    """Their number is bounded by ports alone."""
    merge(store, FIRST, 0, one=(1, 2), two=(3, 4))
    many = [f"unused-{number}" for number in range(40_000)]
    for since in (None, NOON):
        used = store.used_bytes(
            {**dict.fromkeys(many, since), ONE.uuid: since}, [Samples(FIRST, {ONE.uuid: Bytes(2, 2)})]
        )
        assert (used[ONE.uuid], sum(used.values())) == (4, 4)


def fold(store: Store, before: datetime) -> int:
    """Fold all days before this midnight; how many."""
    days = -1
    more = True
    while more:
        days += 1
        with store.write() as transaction:
            more = transaction.ledger.fold_into_days(before)
    return days


def test_old_days_keep_their_sums(store: Store) -> None:
    """Their hours become one point at midnight, whenever they are folded; a late byte is added; younger ones stay."""
    merge(store, FIRST, -50 * 3600, one=(1, 2), two=(10, 20))
    merge(store, FIRST, -49 * 3600, one=(3, 5), two=(10, 21))
    merge(store, FIRST, 0, one=(4, 5))
    midnight = NOON.replace(hour=0)
    assert fold(store, midnight) == 1
    assert fold(store, midnight) == 0
    old = Bytes(3, 5)
    assert [(point.begin, point.usage) for point in store.history(ONE.uuid, NOON - 72 * HOUR, NOON + HOUR)] == [
        (midnight - 48 * HOUR, old),
        (NOON, Bytes(1, 0)),
    ]
    merge(store, FIRST, -50 * 3600, one=(4, 7))
    assert fold(store, midnight) == 1
    points = store.history(None, midnight - 48 * HOUR, midnight)
    assert [(point.begin, point.usage) for point in points] == [(midnight - 48 * HOUR, Bytes(3 + 10, 7 + 21))]
    assert (total(store), in_hours(store)) == (11, 11)


def test_what_is_folded_too_early_still_counts(store: Store) -> None:
    """A clock that was wrong for a while takes nothing from what a window has used."""
    merge(store, FIRST, 0, one=(1, 2), two=(5, 5))
    reset(store, TWO, NOON)
    merge(store, FIRST, 86400, one=(10, 2), two=(6, 5))
    midnight = NOON.replace(hour=0)
    before = store.used_bytes({ONE.uuid: midnight, TWO.uuid: midnight})
    assert before == {ONE.uuid: 12, TWO.uuid: 1}
    assert fold(store, midnight + 365 * 24 * HOUR)
    assert store.used_bytes({ONE.uuid: midnight}) == {ONE.uuid: 12}
    assert store.used_bytes({ONE.uuid: midnight + 24 * HOUR}) == {ONE.uuid: 9}


def test_a_number_is_nobody_elses(store: Store) -> None:
    """A key that is made after the newest one was deleted has no history, though it may get that one's number."""
    merge(store, FIRST, 0, one=(1, 2), two=(5, 5))
    with store.write() as transaction:
        transaction.delete(TWO.id)
    add(store, key(3, port=TWO.port))
    merge(store, FIRST, 1, one=(1, 3), **{key(3).uuid: (1, 0)})
    assert [point.usage for point in store.history(key(3).uuid, NOON, NOON + HOUR)] == [Bytes(1, 0)]
    assert [point.usage for point in store.history(None, NOON, NOON + HOUR)] == [Bytes(2, 3)]
