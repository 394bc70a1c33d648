"""A tick of sampling: with a hundred keys of a real Xray, and with ten thousand of a simulated one."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.bench.book import Book, Figure, Spread
from tests.contract.test_store import key
from tests.support.counting import api_socket
from tests.support.service import Service

from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.interfaces import Counters
from vpnkeys.service.traffic import count
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import migrate
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.xray.rpc.counters import XrayCounters

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

MANY = 10_000


class Clock:
    """The host's clock."""

    def now(self) -> datetime:
        """UTC, without an offset."""
        return datetime.now(UTC).replace(tzinfo=None)


class Busy:
    """Counters of ten thousand keys, all of which grow between two samples."""

    def __init__(self, uuids: list[str]) -> None:
        self._uuids = uuids
        self._tick = 0

    def sample(self, uuids: Collection[str] | None = None) -> Samples:
        """A thousand bytes more each time."""
        self._tick += 1
        return Samples("life", dict.fromkeys(self._uuids, Bytes(self._tick * 1000, self._tick * 2000)))


def test_a_hundred_keys(book: Book, full: Service) -> None:
    """Beside a running server, whose keys are idle."""
    counters = XrayCounters(api_socket(full))
    with closing(SqlStore(open_engine(f"sqlite:///{full.data_dir / 'vpnkeys.db'}"))) as store:
        taken = [_tick(store, counters) for _ in range(100)]
        floor = []
        for _ in range(100):
            began = time.perf_counter()
            counters.sample()
            floor.append((time.perf_counter() - began) * 1e3)
    counters.close()
    bare = Spread.of(floor)
    book.add(
        Figure(
            "sampling tick, 100 keys, p50", Spread.of(taken).p50, "ms", "lower", 5, bare.p50, "the sample", bare.noise
        )
    )


def test_ten_thousand_keys(book: Book, tmp_path: Path) -> None:
    """All of them in use."""
    url = f"sqlite:///{tmp_path / 'many.db'}"
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    keys = [
        replace(key(0), id=f"id-{number}", uuid=f"uuid-{number}", port=number + 1, short_id=f"{number:016x}")
        for number in range(MANY)
    ]
    with closing(SqlStore(open_engine(url))) as store:
        with store.write() as transaction:
            for one in keys:
                transaction.insert(one)
        busy = Busy([one.uuid for one in keys])
        taken = [_tick(store, busy) for _ in range(10)]
    floor = Spread.of(_raw_upserts(tmp_path / "raw.db", 10)[1:])
    book.add(
        Figure(
            "sampling tick, 10,000 keys in use, p50",
            Spread.of(taken[1:]).p50,
            "ms",
            "lower",
            300,
            floor.p50,
            "its upserts by sqlite3",
            floor.noise,
        )
    )


def _raw_upserts(path: Path, times: int) -> list[float]:
    """Three tables, a row for each key, added to in one transaction; in milliseconds."""
    taken = []
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            database.execute(f"PRAGMA {pragma}")
        for table in "abc":
            database.execute(f"CREATE TABLE {table} (uuid TEXT, place TEXT, up INTEGER, PRIMARY KEY (uuid, place))")
        rows = [(f"uuid-{number}", "here", 1000) for number in range(MANY)]
        for _ in range(times):
            began = time.perf_counter()
            database.execute("BEGIN IMMEDIATE")
            for table in "abc":
                upsert = f"INSERT INTO {table} VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET up = up + excluded.up"  # noqa: S608
                database.executemany(upsert, rows)
            database.execute("COMMIT")
            taken.append((time.perf_counter() - began) * 1e3)
    return taken


def _tick(store: SqlStore, counters: Counters) -> float:
    """One tick, in milliseconds."""
    began = time.perf_counter()
    count(store, counters, Clock())
    return (time.perf_counter() - began) * 1e3
