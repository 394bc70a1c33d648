"""What is done all the time, with many keys and ninety days of history, on both kinds of database."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from datetime import time as time_of_day

import pytest
from sqlalchemy import Engine, insert, select, text
from tests.bench.book import Book, Figure
from tests.contract.test_store import key
from tests.support.growth import Size, fill, uuid_of
from tests.support.postgres import Cluster, missing

from vpnkeys.api.listing import page_of, parse_query
from vpnkeys.domain.key import Key, find
from vpnkeys.domain.nodes import NodeRef
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.opening import open_migrated
from vpnkeys.store.sql.rows import to_row
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.store.sql.tables import keys, traffic_history, traffic_usage

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

SIZES = {"sqlite": Size(60_000, days=90, used_every=10), "postgresql": Size(100_000, days=90, used_every=10)}
"""On SQLite there is one machine, whose ports bound the number of its keys."""
_SAMPLED, _SPARE, _NEW = 10_000, 65_000, 500_000


class Grown:
    """A store of many keys, and what is done with it: each beside the same by its statement alone."""

    def __init__(self, kind: str, engine: Engine, store: SqlStore) -> None:
        """Take a database that has been filled."""
        self.kind, self.engine, self.store = kind, engine, store
        self.size = SIZES[kind]
        self.noon = datetime.combine(self.size.last_day, time_of_day(12))
        self._round = 0
        self.middle = uuid_of(self.size.keys // 2)

    def one(self) -> object:
        """A key by its UUID."""
        return find(self.store.keys(), self.middle)

    def one_alone(self) -> object:
        """Its row."""
        return self._read(select(keys).where(keys.c.uuid == self.middle))

    def page(self) -> object:
        """A hundred keys from the middle of the list."""
        place = f"{self.size.keys // 2},{self.middle}"
        found = page_of(self.store.keys(), parse_query(None, None, place, "100"))
        assert len(found.keys) == 100
        return found

    def page_alone(self) -> object:
        """Their rows."""
        return self._read(select(keys).where(keys.c.id > self.middle).order_by(keys.c.id).limit(100))

    def create(self) -> None:
        """A new key."""
        with self.store.write() as transaction:
            transaction.insert(self._next_key())

    def create_alone(self) -> None:
        """Its row."""
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            connection.execute(insert(keys), to_row(self._next_key()))

    def _next_key(self) -> Key:
        """One more, on the last node, which has ports left."""
        self._round += 1
        last = NodeRef(self.size.keys // 65535 + 1, "last")
        return key(_NEW + self._round, port=_SPARE + self._round, node=last)

    def tick(self) -> None:
        """A sample in which ten thousand keys have more."""
        self._round += 1
        more = Bytes(10**9 + self._round, 10**9 + self._round)
        sampled = dict.fromkeys(map(uuid_of, range(1, _SAMPLED + 1)), more)
        with self.store.write() as transaction:
            transaction.ledger.merge(Samples("life-2", sampled), self.noon)

    def tick_alone(self) -> None:
        """An update of as many rows of counters and of history."""
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            for table, where in (
                (traffic_usage, f"epoch = 'life-2' AND key_uuid <= '{uuid_of(_SAMPLED)}'"),
                (traffic_history, f"day = '{self.size.last_day}' AND key_number <= {_SAMPLED}"),
            ):
                sums = "up_bytes = up_bytes + 1, down_bytes = down_bytes + 1"
                connection.execute(text(f"UPDATE {table.name} SET {sums} WHERE {where}"))  # noqa: S608 - our own

    def overview(self) -> object:
        """The traffic of all keys in the last day, by hour."""
        return self.store.history(None, self.noon - timedelta(days=1), self.noon)

    def overview_alone(self) -> object:
        """The sums of those days."""
        hours = ", ".join(f"sum({way}_{hour:02})" for hour in range(24) for way in ("up", "down"))
        first = self.size.last_day - timedelta(days=1)
        wanted = f"SELECT day, {hours} FROM traffic_history WHERE day >= '{first}' GROUP BY day"  # noqa: S608 - our own
        return self._read(text(wanted))

    def _read(self, statement: object) -> object:
        with self.engine.begin() as connection:
            return connection.execute(statement).all()  # type: ignore[call-overload]


@pytest.fixture(scope="module", params=[*SIZES])
def grown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grown]:
    """A store of as many keys as its kind of database is for."""
    with ExitStack() as stack:
        cluster = None
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('grown') / 'vpnkeys.db'}"
        elif why := missing():
            pytest.skip(why)
        else:
            cluster = stack.enter_context(Cluster())
            url = cluster.empty_database()
        engine = open_migrated(url)
        fill(engine, SIZES[request.param])
        engine.dispose()
        if cluster is not None:  # as an operator has it: each commit is on the disk when it returns
            cluster.stop()
            cluster.settings |= {"fsync": "on", "full_page_writes": "on", "shared_buffers": "128MB"}
            cluster.run()
        engine = open_engine(url)
        store = stack.enter_context(closing(SqlStore(engine)))
        store.keys()
        yield Grown(request.param, engine, store)


@pytest.mark.parametrize(
    ("what", "rounds"), [("one", 300), ("page", 300), ("create", 30), ("tick", 10), ("overview", 10)]
)
def test_many_keys(book: Book, grown: Grown, what: str, rounds: int) -> None:
    """Half of the times, and all but one in a hundred, are at most so."""
    grown.store.keys()  # keys that were written past this store are read again, as each second in a server
    taken = _times(getattr(grown, what), rounds)
    alone = _times(getattr(grown, f"{what}_alone"), rounds)
    name = f"{what}, {grown.size.keys:,} keys × {grown.size.days} days, {grown.kind}"
    for label, percent in (("p50", 50), ("p99", 99)):
        floor = _percentile(alone, percent)
        noise = _percentile(alone, 95) / _percentile(alone, 50) - 1
        value = _percentile(taken, percent)
        book.add(Figure(f"{name}, {label}", value, "ms", "lower", None, floor, "its statement alone", noise))


def _times(act: Callable[[], object], rounds: int) -> list[float]:
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        found.append((time.perf_counter() - began) * 1e3)
    return found


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
