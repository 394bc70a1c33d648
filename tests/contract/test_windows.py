"""What is used in a window is what passed in it since the last reset: against a naive model, in every store."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.test_store import add, key
from tests.fakes import FakeClock
from tests.strategies import windows
from tests.support.databases import in_memory, sql, sqlite
from tests.support.postgres import Cluster

from vpnkeys.domain.errors import WaitsElsewhere
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status, Window, WindowUsage, judge
from vpnkeys.domain.traffic import NOTHING, Bytes, Samples
from vpnkeys.interfaces import Store
from vpnkeys.service.limits.usage import UsageBoard

START = datetime(2025, 1, 30, 22)  # noqa: DTZ001 - UTC without an offset, as everywhere
LIMIT = 10_000
_numbers = count(1)
_lives = count(1)


@pytest.fixture(scope="module", params=["fake", "sqlite", "postgresql"])
def store_for(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Store]]:
    """Each kind of store for an example; but for the fake one, examples have keys and lives of Xray of their own."""
    if request.param == "fake":
        yield lambda: in_memory().open()
        return
    if request.param == "sqlite":
        database = sqlite(tmp_path_factory.mktemp("windows") / "vpnkeys.db")
    else:
        cluster: Cluster = request.getfixturevalue("postgres")
        database = sql(cluster.database())
    found = database.open()
    yield lambda: found
    found.close()


@dataclass
class Naive:
    """A key with traffic: each byte with the time of the sample that first saw it."""

    key: Key
    seen: list[tuple[datetime, int]] = field(default_factory=list)
    counters: Bytes = NOTHING
    life: str = ""

    def used(self, window: Window, now: datetime) -> int:
        """What passed since the window began."""
        begin = window.start(now)
        return sum(used for at, used in self.seen if begin is None or at >= begin)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("carry"), st.integers(0, 5000), st.integers(0, 5000)),
        st.tuples(st.just("wait"), st.integers(0, 40 * 24 * 60), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 300), st.just(0)),
        st.sampled_from([("repeat", 0, 0), ("restart", 0, 0), ("reset", 0, 0), ("fold", 0, 0)]),
    ),
    max_size=15,
)


def sample(store: Store, model: Naive, now: datetime) -> None:
    """Merge the counters as they are, as any sampler does."""
    with store.write() as transaction:
        transaction.ledger.merge(Samples(model.life, {model.key.account: model.counters}), now)


def take(store: Store, model: Naive, step: tuple[str, int, int], clock: FakeClock) -> None:
    """Let something happen to the key, and to the model of it."""
    what, one, other = step
    if what == "carry":
        model.counters = Bytes(model.counters.up + one, model.counters.down + other)
        sample(store, model, clock.now())
        model.seen.append((clock.now(), one + other))
    elif what == "wait":
        clock.advance(minutes=one)
    elif what == "repeat":
        sample(store, model, clock.now())
    elif what == "restart":
        model.life, model.counters = f"life-{next(_lives)}", NOTHING
    elif what == "reset":
        with store.write() as transaction:
            transaction.ledger.reset(model.key.account, clock.now())
        model.seen.clear()
    else:
        today = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        with store.write() as transaction:
            transaction.ledger.fold_into_days(before=today - timedelta(days=90))


@given(steps, st.lists(windows, min_size=1, max_size=3))
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_no_byte_is_lost_or_doubled(
    store_for: Callable[[], Store], happens: list[tuple[str, int, int]], asked: list[Window]
) -> None:
    """After each step, in each window; and what is shown as left is what the limit goes by."""
    store, clock = store_for(), FakeClock(START)
    model = Naive(key(next(_numbers)), life=f"life-{next(_lives)}")
    add(store, model.key)
    for number, step in enumerate(happens):
        take(store, model, step, clock)
        now = clock.now()
        for window in {asked[number % len(asked)], Window.TOTAL}:
            used = model.used(window, now)
            shown = UsageBoard(store.used_bytes, clock).of(limited(model.key, window))
            assert shown == WindowUsage(used, max(0, LIMIT - used), window.resets_at(now))
            verdict = judge(Limits(traffic_bytes=LIMIT, traffic_window=window), shown.used_bytes or 0, now)
            assert (verdict is Status.LIMITED) == (shown.remaining_bytes == 0)


def limited(one: Key, window: Window) -> Key:
    """The key with a limit in this window."""
    return replace(one, limits=Limits(traffic_bytes=LIMIT, traffic_window=window))


def test_an_event_loop_waits_for_no_database_elsewhere() -> None:
    """What was read before is shown there; what was not is for a thread to read."""
    is_in_loop, asked = False, []

    def ledger(since: Mapping[str, datetime | None], _fresh: Iterable[Samples] = ()) -> Mapping[str, int]:
        if is_in_loop:
            raise WaitsElsewhere("The database is elsewhere.")
        asked.append({*since})
        return dict.fromkeys(since, 7)

    board, known, new = UsageBoard(ledger, FakeClock(START)), key(1), key(2)
    board.of(known)
    is_in_loop = True
    assert board.of(known).used_bytes == 7
    with pytest.raises(WaitsElsewhere):
        board.of_each((known, new))
    is_in_loop = False
    assert board.of(new).used_bytes == 7
    assert asked == [{known.account}, {new.account}]
