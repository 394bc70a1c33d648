"""What others hold in a PostgreSQL database while servers work with it: a reader the history, a session a table."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url
from tests.contract.test_store import NOON, add, key
from tests.support.disks import empty, fill, needs_mounts, small_disk
from tests.support.postgres import Cluster, as_ordinary_user, own_directory
from tests.support.slowness import slowness

from vpnkeys.clock import SystemClock
from vpnkeys.domain.errors import KeysChangedMeanwhile, StoreUnavailable
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.service.health.checks import HostFacts
from vpnkeys.service.health.questions import Questions
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.opening import open_migrated
from vpnkeys.store.sql.store import SqlStore

MIDNIGHT = NOON.replace(hour=0)
DAY = timedelta(days=1)
READS_FOR_S = 2.0


@pytest.fixture
def url(postgres: Cluster) -> str:
    """An empty database."""
    return postgres.cleared_database()


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    """A store on it."""
    with closing(SqlStore(open_engine(url))) as store:
        yield store


@contextmanager
def held(postgres: Cluster, url: str, *statements: str) -> Iterator[None]:
    """Run statements in a transaction of another session, which lasts as long as the block."""
    with psycopg.connect(postgres.conninfo(str(make_url(url).database))) as other:
        for statement in statements:
            other.execute(statement.encode())
        yield
        other.rollback()


def fold(store: SqlStore) -> bool:
    """Fold one day before the day of noon; whether there was one."""
    with store.write() as transaction:
        return transaction.ledger.fold_into_days(MIDNIGHT)


def test_no_reader_waits_for_a_fold_that_waits_for_another_reader(postgres: Cluster, url: str, store: SqlStore) -> None:
    """It gives way at once, to a dump for instance, and is done when that has ended."""
    add(store, key(1))
    with store.write() as transaction:
        transaction.ledger.merge(Samples("life", {key(1).uuid: Bytes(1, 2)}), NOON - DAY)
    dump = ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM traffic_history")
    with held(postgres, url, *dump), ThreadPoolExecutor() as pool:
        folding = pool.submit(fold, store)
        ends_at = time.monotonic() + READS_FOR_S
        while time.monotonic() < ends_at:
            assert len(store.history(key(1).uuid, NOON - DAY, NOON)) == 1
            time.sleep(0.05)
        with pytest.raises(StoreUnavailable, match="others read the history"):
            folding.result()
        add(store, key(2))
    assert fold(store)
    assert not fold(store)
    (point,) = store.history(key(1).uuid, MIDNIGHT - DAY, NOON)
    assert (point.begin, point.usage) == (MIDNIGHT - DAY, Bytes(1, 2))


def questions(store: SqlStore) -> Questions:
    """What /health asks of a store in the background."""
    return Questions(None, HostFacts, store, SystemClock())


@pytest.mark.parametrize("lock", ["keys", "audit", "keys IN SHARE MODE"])
def test_a_table_that_others_hold_is_found_by_health(postgres: Cluster, url: str, store: SqlStore, lock: str) -> None:
    """Also while no change is asked for; one that failed says so at once, until it would succeed again."""
    health = questions(store)
    health.write()
    assert store.refusal() == ""
    with held(postgres, url, f"LOCK TABLE {lock}"):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="database is locked"):
            health.write()
        assert time.monotonic() - began < 1.0 * slowness(), "all other writers wait for it"
        with pytest.raises(StoreUnavailable, match="database is locked"):
            add(store, key(1))
        assert store.refusal() == "database is locked"
        with pytest.raises(StoreUnavailable):
            health.write()
        assert store.refusal() == "database is locked"
    health.write()
    assert store.refusal() == ""
    add(store, key(1))


def test_a_row_that_is_there_is_no_refusal(store: SqlStore) -> None:
    """It is the fault of the change, and not of the database."""
    add(store, key(1))
    with pytest.raises(KeysChangedMeanwhile):
        add(store, key(1))
    assert store.refusal() == ""


@pytest.fixture
def full() -> Iterator[tuple[Cluster, Path]]:
    """A server on a small disk of its own, which the test fills."""
    above, user = own_directory("vpnkeys-pg-"), as_ordinary_user()
    try:
        with small_disk(above / "disk", 160) as disk:
            os.chown(disk, user.get("user", -1), user.get("group", -1))
            cluster = Cluster(disk)
            cluster.settings["max_wal_size"] = "64MB"
            with cluster:
                yield cluster, disk
    finally:
        shutil.rmtree(above)


@needs_mounts
def test_a_full_disk_is_found_by_health(full: tuple[Cluster, Path]) -> None:
    """Although the one row that is written each time has its place on a page that is there."""
    cluster, disk = full
    with closing(SqlStore(open_migrated(cluster.empty_database()))) as store:
        health = questions(store)
        health.write()
        fill(disk)
        with pytest.raises(StoreUnavailable, match="disk is full"):
            health.write()
        with pytest.raises(StoreUnavailable, match="disk is full"):
            add(store, key(1))
        assert store.refusal() == "database or disk is full"
        empty(disk)
        health.write()
        add(store, key(1))
        assert store.refusal() == ""


def test_a_look_of_health_leaves_nothing_behind(postgres: Cluster, url: str, store: SqlStore) -> None:
    """No file, and no log but of the one row; no server is woken by it."""
    health = questions(store)
    health.write()
    name = str(make_url(url).database)
    numbers = "SELECT sum(number) FROM generations"
    size = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname IN ('keys', 'audit', 'idempotency')"
    before = postgres.execute(numbers, name), postgres.execute(size, name)
    for _ in range(20):
        health.write()
    assert (postgres.execute(numbers, name), postgres.execute(size, name)) == before
