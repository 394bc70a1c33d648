"""What others hold in a PostgreSQL database while servers work with it: a reader the history, a session a table."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import make_url
from tests.contract.test_store import NOON, add, key
from tests.support.postgres import Cluster

from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.store.sql.engine import open_engine
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
