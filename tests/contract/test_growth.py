"""What is read all the time is found by an index, however many keys and days there are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, time, timedelta
from operator import add, sub

import pytest
from sqlalchemy import Engine
from tests.support.growth import FIRST_DAY, Size, fill, given_rows, plans_of, uuid_of
from tests.support.postgres import Cluster

from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.opening import open_migrated
from vpnkeys.store.sql.store import SqlStore

_SMALL = Size(keys=2_000, days=12)
_LARGE = {"sqlite": Size(60_000, days=90, used_every=10), "postgresql": Size(100_000, days=90, used_every=10)}
"""On SQLite there is one machine, whose ports bound the number of its keys."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("sqlite", _SMALL), id="sqlite"),
        pytest.param(("postgresql", _SMALL), id="postgresql"),
        *(pytest.param((kind, size), id=f"{kind}-large", marks=pytest.mark.soak) for kind, size in _LARGE.items()),
    ],
)
def grown(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[SqlStore, Engine, Size]]:
    """A store of many keys and days, and the engine below it."""
    kind, size = request.param
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('grown') / 'vpnkeys.db'}"
    else:
        cluster: Cluster = request.getfixturevalue("postgres")
        url = cluster.empty_database()
    open_migrated(url).dispose()
    engine = open_engine(url)
    fill(engine, size)
    store = SqlStore(engine)
    yield store, engine, size
    store.close()


def _noon(size: Size) -> datetime:
    return datetime.combine(size.last_day, time(12))


def _merge(store: SqlStore, size: Size) -> None:
    sampled = {uuid_of(number): Bytes(10**9, 10**9) for number in range(1, 21)}
    with store.write() as transaction:
        transaction.ledger.merge(Samples("life-2", sampled), _noon(size))


def _reset(store: SqlStore, size: Size) -> None:
    with store.write() as transaction:
        transaction.ledger.reset(uuid_of(2), _noon(size))


_ONE_KEYS: dict[str, Callable[[SqlStore, Size], object]] = {
    "history by hour": lambda store, size: store.history(uuid_of(7), _noon(size) - timedelta(days=1), _noon(size)),
    "history by day": lambda store, size: store.history(uuid_of(7), _noon(size) - timedelta(days=30), _noon(size)),
    "total": lambda store, _: store.traffic(uuid_of(7)),
    "a window": lambda store, size: store.used_bytes(
        dict.fromkeys(map(uuid_of, range(1, 11)), datetime.combine(FIRST_DAY, time()))
    ),
    "a reset": _reset,
    "a sample": _merge,
}
_SCANS = re.compile(r"SCAN (?:traffic_\w+|keys)\b(?! USING)|Seq Scan on (?:traffic_\w+|keys)\b", re.MULTILINE)


@pytest.mark.parametrize("what", _ONE_KEYS)
def test_what_is_about_some_keys_reads_no_other(grown: tuple[SqlStore, Engine, Size], what: str) -> None:
    """No table of keys or traffic is read from one end to the other."""
    store, engine, size = grown
    store.keys()  # what is kept in memory is read once, whole
    with plans_of(engine, size) as plans:
        _ONE_KEYS[what](store, size)
    assert plans.texts
    scans = [plan for plan in plans.texts if _SCANS.search(plan)]
    assert scans == []


def test_a_sample_of_many_keys_is_merged_by_short_statements(grown: tuple[SqlStore, Engine, Size]) -> None:
    """None has to do with all of them; each key has what it has used, and its hour as much, however often it comes."""
    store, engine, size = grown
    counters = {uuid_of(number): Bytes(2 * 10**9, 3 * 10**9) for number in range(1, size.keys + 1)}
    before = _counted(store, size)
    for _ in range(2):
        with given_rows(engine) as rows, store.write() as transaction:
            transaction.ledger.merge(Samples("life-2", counters), _noon(size))
        assert size.keys <= sum(rows)
        assert max(rows) <= 1000
    in_life_1 = {uuid_of(number): Bytes(number, 2 * number) for number in range(1, size.keys + 1)}
    assert store.counted_by_key() == {uuid: Bytes(*map(add, used, counters[uuid])) for uuid, used in in_life_1.items()}
    total, in_hour = map(sub, _counted(store, size), before)
    assert total == in_hour > 0


def _counted(store: SqlStore, size: Size) -> tuple[int, int]:
    """What all keys have used, and in the hour of noon."""
    points = store.history(None, _noon(size), _noon(size) + timedelta(hours=1))
    return sum(used.total for used in store.counted_by_key().values()), sum(point.usage.total for point in points)


def test_the_history_of_all_reads_its_own_days_only(grown: tuple[SqlStore, Engine, Size]) -> None:
    """By the order of the rows on SQLite, by its partitions on PostgreSQL."""
    store, engine, size = grown
    with plans_of(engine, size) as plans:
        points = store.history(None, _noon(size) - timedelta(hours=24), _noon(size))
    assert sum(point.usage.total for point in points) >= size.keys * 2 * 2
    if engine.dialect.name == "sqlite":
        assert "SEARCH traffic_history USING PRIMARY KEY (day>? AND day<?)" in str(plans)
    else:
        days = set(re.findall(r"traffic_history_(\d{8})", str(plans)))
        assert days == {f"{size.last_day - timedelta(days=back):%Y%m%d}" for back in (0, 1)}


def test_the_oldest_day_is_found_at_once(grown: tuple[SqlStore, Engine, Size]) -> None:
    """It is folded without a look at the others."""
    store, engine, size = grown
    before = store.history(None, datetime.combine(FIRST_DAY, time()), datetime.combine(FIRST_DAY, time(23)))
    with plans_of(engine, size) as plans, store.write() as transaction:
        assert transaction.ledger.fold_into_days(datetime.combine(FIRST_DAY, time()) + timedelta(days=1))
    assert not _SCANS.search(str(plans)), str(plans)
    after = store.history(None, datetime.combine(FIRST_DAY, time()), datetime.combine(FIRST_DAY, time(23)))
    assert len(before) == 4
    assert [point.usage.total for point in after] == [sum(point.usage.total for point in before)]
