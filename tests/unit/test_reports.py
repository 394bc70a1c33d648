"""Reports of how database, config.json and Xray compare: they keep no change waiting, and mix no two states."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from tests.fakes import FakeNode
from tests.support.memory import SITE, World

from vpnkeys.domain.errors import StopPending
from vpnkeys.domain.plan import Observed
from vpnkeys.service.drift import count_drift
from vpnkeys.service.report import Reporter

PATIENCE_S = 30.0


@dataclass(slots=True)
class SlowNode(FakeNode):
    """A node that takes until it is let to say what it has, to those who are not the test itself."""

    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    let: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def observe(self) -> Observed:
        """Begin, wait, and then say it."""
        found = FakeNode.observe(self)
        if threading.current_thread() is not threading.main_thread():
            self.asked.release()
            assert self.let.acquire(timeout=PATIENCE_S)
        return found


@pytest.fixture
def world() -> World:
    """A server whose node is slow to tell what it has."""
    return World(node=SlowNode(names=frozenset(SITE.server_names)))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads of readers."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


def reads(world: World) -> list[Callable[[], object]]:
    """All that only looks."""
    reconciler = world.keys.reconciler
    reporter = Reporter(reconciler, world.keys.pool)
    return [reporter.sync, reporter.plan, reporter.port_issues, lambda: count_drift(reconciler)]


def test_a_stop_waits_for_no_reader(world: World, pool: ThreadPoolExecutor) -> None:
    """Several look while Xray hangs; a key is deleted meanwhile, as fast as without them."""
    node = world.node
    assert isinstance(node, SlowNode)
    key = world.make()
    node.answers = False
    reading: list[Future[object]] = [pool.submit(read) for read in reads(world)]
    for _ in reading:
        assert node.asked.acquire(timeout=PATIENCE_S)
    with pytest.raises(StopPending):
        world.keys.delete(key.id)
    assert not any(read.done() for read in reading)
    assert world.keys.list() == ()
    node.let.release(100)
    for read in reading:
        read.result(PATIENCE_S)


def test_a_change_between_two_looks_is_no_drift(world: World, pool: ThreadPoolExecutor) -> None:
    """What was observed before it and the keys after it are never compared, however often it happens."""
    node = world.node
    assert isinstance(node, SlowNode)
    reporter = Reporter(world.keys.reconciler, world.keys.pool)
    world.make()
    for changes in (1, 3):
        report = pool.submit(reporter.sync)
        for _ in range(changes):
            if not node.asked.acquire(timeout=1.0):
                break
            world.keys.delete(world.keys.list()[0].id)
            world.make()
            node.let.release()
        node.let.release(100)
        found = report.result(PATIENCE_S)
        assert found.file.synced
        assert found.runtime is not None
        assert found.runtime.synced
        assert found.key_uuids == tuple(key.uuid for key in world.keys.list())
        while node.let.acquire(blocking=False):
            pass
        while node.asked.acquire(blocking=False):
            pass


def test_a_port_of_an_xray_that_hangs_is_not_called_taken(world: World) -> None:
    """It listens on all of them; who has them is known only when it answers."""
    world.make()
    world.node.answers = False
    assert Reporter(world.keys.reconciler, world.keys.pool).port_issues() == ()


def test_a_plan_that_is_only_shown_notes_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A repair may add the inbound between the look and the note, and the port would be Xray's own."""
    reconciler = world.keys.reconciler
    world.node.occupied = {world.make().port}
    world.node.start_xray()
    caplog.clear()
    assert Reporter(reconciler, world.keys.pool).plan()[1].add == ()
    assert reconciler.taken.ports == frozenset()
    assert caplog.messages == []


def test_a_repair_between_two_looks_is_seen(world: World, pool: ThreadPoolExecutor) -> None:
    """It changes no key, so that only the plan that was carried out tells of it."""
    node, reconciler = world.node, world.keys.reconciler
    assert isinstance(node, SlowNode)
    assert node.running is not None
    del node.running[world.make().tag]
    report = pool.submit(Reporter(reconciler, world.keys.pool).sync)
    assert node.asked.acquire(timeout=PATIENCE_S)
    reconciler.reconcile()
    node.let.release(100)
    runtime = report.result(PATIENCE_S).runtime
    assert runtime is not None
    assert runtime.synced
