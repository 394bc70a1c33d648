"""Merging samples: however many, in whatever order, by whomever. And what a silent Xray costs those who wait."""

import asyncio
import threading
import time
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import reduce
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.test_store import add, key
from tests.fake_store import FakeStore
from tests.fakes import FakeClock, FakeNode

from vpnkeys.domain.errors import StoreUnavailable, XrayUnavailable
from vpnkeys.domain.nodes import NodeRef
from vpnkeys.domain.plan import FileState, FileView
from vpnkeys.domain.traffic import NOTHING, Bytes, Samples, increments, merge
from vpnkeys.service.traffic import TrafficService

KEY = key(1)

counts = st.integers(0, 2**62)
counters = st.builds(Bytes, counts, counts)
usages = st.dictionaries(st.sampled_from(["a", "b", "c"]), counters)


@given(one=counters)
def test_a_sample_merged_twice_is_merged_once(one: Bytes) -> None:
    """Idempotent; and nothing is the beginning."""
    assert merge(one, one) == one == merge(NOTHING, one)


@given(one=counters, other=counters)
def test_samples_may_come_in_any_order(one: Bytes, other: Bytes) -> None:
    """Commutative."""
    assert merge(one, other) == merge(other, one)


@given(one=counters, other=counters, third=counters)
def test_samples_may_be_merged_in_any_groups(one: Bytes, other: Bytes, third: Bytes) -> None:
    """Associative: what another process has merged already makes no difference."""
    assert merge(merge(one, other), third) == merge(one, merge(other, third))


@given(one=counters, other=counters)
def test_nothing_is_ever_taken_away(one: Bytes, other: Bytes) -> None:
    """A merge is at least what it was, and at least what was sampled, in both directions."""
    merged = merge(one, other)
    assert merged.up >= max(one.up, other.up)
    assert merged.down >= max(one.down, other.down)


@given(samples=st.lists(usages, max_size=6), order=st.randoms(use_true_random=False))
def test_increments_add_up(samples: list[dict[str, Bytes]], order: object) -> None:
    """Whatever the order and the overlap, the increments of all samples add up to the highest of each key."""
    shuffled = [*samples, *samples]
    order.shuffle(shuffled)  # type: ignore[attr-defined] # a random.Random
    seen: dict[str, Bytes] = {}
    for sampled in shuffled:
        for uuid, more in increments(seen, sampled).items():
            assert more.up >= 0
            assert more.down >= 0
            assert more != NOTHING
            before = seen.get(uuid, NOTHING)
            seen[uuid] = Bytes(before.up + more.up, before.down + more.down)
    for uuid in "abc":
        highest = reduce(merge, (sampled.get(uuid, NOTHING) for sampled in samples), NOTHING)
        assert seen.get(uuid, NOTHING) == highest


@given(seen=usages, sampled=usages)
def test_what_adds_nothing_is_left_out(seen: dict[str, Bytes], sampled: dict[str, Bytes]) -> None:
    """Merging the same again has no increments at all; nor has a key that was not sampled."""
    added = increments(seen, sampled)
    assert added.keys() <= sampled.keys()
    after = {**seen, **{uuid: merge(seen.get(uuid, NOTHING), used) for uuid, used in sampled.items()}}
    assert increments(after, sampled) == {}


@dataclass(slots=True)
class Gate(FakeNode):
    """A node whose samples take until they are let through."""

    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    let: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    samples_taken: int = 0

    def sample(self, uuids: Collection[str] | None = None) -> Samples:
        """Wait; then the counters, or no answer."""
        self.samples_taken += 1
        self.entered.release()
        self.let.acquire()
        if self.running is None:
            raise XrayUnavailable("silent")
        return FakeNode.sample(self, uuids)


def _service() -> tuple[TrafficService, Gate]:
    node = Gate(file=FileView(FileState.OK, {}))
    node.start_xray()
    store = FakeStore()
    add(store, KEY)
    return TrafficService(store, node, FakeClock()), node


def _ask_while_one_waits(service: TrafficService, node: Gate, pool: ThreadPoolExecutor) -> list[Future[None]]:
    """One whose sample is under way, and four who came meanwhile."""
    first = pool.submit(service.collect)
    node.entered.acquire()
    asking = Barrier(5)

    def ask() -> None:
        asking.wait()
        service.collect()

    others = [pool.submit(ask) for _ in range(4)]
    asking.wait()
    time.sleep(0.3)  # now they wait for the first; nothing tells when, so that a moment must do
    return [first, *others]


def test_those_who_wait_share_the_next_sample() -> None:
    """It began after they had asked, so that it has all their bytes: five requests, two samples."""
    service, node = _service()
    with ThreadPoolExecutor(5) as pool:
        asked = _ask_while_one_waits(service, node, pool)
        node.counters[KEY.uuid] = Bytes(3, 4)
        node.let.release(2)
        wait(asked, 60)
    assert [one.exception() for one in asked] == [None] * 5
    assert node.samples_taken == 2
    assert service.store.traffic(KEY.uuid).total_bytes == 7


def test_those_who_wait_share_the_silence() -> None:
    """When Xray does not answer the first, the others hear of it at once: five requests, one attempt."""
    service, node = _service()
    with ThreadPoolExecutor(5) as pool:
        asked = _ask_while_one_waits(service, node, pool)
        node.end_xray()
        node.let.release(5)
        wait(asked, 60)
    assert [type(one.exception()) for one in asked] == [XrayUnavailable] * 5
    assert node.samples_taken == 1
    node.start_xray()
    node.let.release()
    service.collect()
    assert node.samples_taken == 2


def test_a_silent_database_is_no_silence_of_xray() -> None:
    """The sample counts; whoever asks what is stored learns that it cannot be read, and the next one tries again."""
    service, node = _service()
    store = service.store
    assert isinstance(store, FakeStore)
    store.memory.answering = False
    node.let.release(3)
    service.collect()
    with pytest.raises(StoreUnavailable):
        asyncio.run(service.sampled(KEY))
    store.memory.answering = True
    service.collect()
    assert node.samples_taken == 3


def test_what_a_key_elsewhere_has_used_is_known_without_an_xray_here() -> None:
    """Its node reports it, so nothing is asked here."""
    service, node = _service()
    node.running = None
    far = replace(KEY, node=NodeRef(2, "far"))
    assert asyncio.run(service.sampled(far)).total_bytes == 0
    assert node.samples_taken == 0


async def _taken(node: Gate, samples: int) -> None:
    """Wait until so many samples have begun."""
    while node.samples_taken < samples:  # noqa: ASYNC110 - a thread counts
        await asyncio.sleep(0.001)


def test_requests_that_come_meanwhile_share_the_next_sample_without_a_thread_each() -> None:
    """Forty requests of an event loop, two samples, and of each key its own traffic."""
    service, node = _service()
    store = service.store
    assert isinstance(store, FakeStore)
    add(store, key(2))

    async def act() -> None:
        first = asyncio.create_task(service.sampled(KEY))
        await _taken(node, 1)
        threads = threading.active_count()
        others = [asyncio.create_task(service.sampled(one)) for one in (KEY, key(2)) * 20]
        await asyncio.sleep(0.05)
        assert threading.active_count() <= threads + 1
        node.counters[KEY.uuid] = Bytes(5, 0)
        node.let.release(2)
        assert (await first).total_bytes == 5
        assert [traffic.total_bytes for traffic in await asyncio.gather(*others)] == [5, 0] * 20

    asyncio.run(act())
    assert node.samples_taken == 2


def test_a_caller_who_goes_away_takes_nobodys_answer_with_him() -> None:
    """The others are answered."""
    service, node = _service()

    async def act() -> None:
        with service.held():  # no sample begins before both have asked
            hasty, patient = (asyncio.create_task(service.sampled(KEY)) for _ in range(2))
            await asyncio.sleep(0)
        await _taken(node, 1)
        hasty.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hasty
        node.let.release()
        assert (await patient).total_bytes == 0

    asyncio.run(act())
    assert node.samples_taken == 1


def test_what_goes_wrong_is_told_to_those_who_shared_it_and_to_nobody_else() -> None:
    """The next request asks anew, however slow the thread that has just answered is."""
    service, node = _service()
    node.end_xray()
    node.let.release(2)

    async def act() -> None:
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def wake_and_pause(*call: object, **options: object) -> object:
            handle = wake(*call, **options)  # type: ignore[arg-type]
            time.sleep(0.05)
            return handle

        loop.call_soon_threadsafe = wake_and_pause  # type: ignore[method-assign,assignment]
        with service.held():
            asked = [asyncio.create_task(service.sampled(KEY)) for _ in range(2)]
            await asyncio.sleep(0)
        assert [type(one) for one in await asyncio.gather(*asked, return_exceptions=True)] == [XrayUnavailable] * 2
        node.start_xray()
        assert (await service.sampled(KEY)).total_bytes == 0

    asyncio.run(act())
    assert node.samples_taken == 2
