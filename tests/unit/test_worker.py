"""A background loop: when its steps come, what it survives, what it logs, and how it ends. No test here sleeps."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from tests.support.waiting import FakeWaiting

from vpnkeys.domain.errors import StoreUnavailable, Unavailable, XrayRefused
from vpnkeys.worker import NEVER, AsyncWorker, Interruptible, Job, Worker, Workers, WorkerStatus

JOB = Job(
    name="worker",
    failing="the work is not done",
    every_s=10.0,
    back_off_s=(1.0, 2.0, 5.0),
    late_after_s=20.0,
    expected=(Unavailable,),
)
AWAY = StoreUnavailable("away")


class Strange(BaseException):
    """One that is no Exception."""


class Mute(Exception):
    """One that cannot even say what it is."""

    def __str__(self) -> str:
        """Fails."""
        raise ValueError


Outcome = float | BaseException | Callable[[], object] | None


@dataclass(slots=True)
class Rig:
    """A worker in this thread, on a clock of the test's, whose steps do what the test says; it stops after the last."""

    outcomes: list[Outcome]
    job: Job = JOB
    waiting: FakeWaiting = field(default_factory=FakeWaiting)
    steps: list[float] = field(default_factory=list)
    worker: Worker = field(init=False)

    def __post_init__(self) -> None:
        self.worker = Worker(self.job, self.step, waiting=self.waiting)
        self.began = self.waiting.time

    began: float = field(init=False)

    def step(self) -> float | None:
        """The next outcome: a wait, an exception, or something to call."""
        self.steps.append(self.waiting.time - self.began)
        outcome = self.outcomes.pop(0)
        if not self.outcomes:
            self.worker.stop()
        if isinstance(outcome, BaseException):
            raise outcome
        if callable(outcome):
            outcome()
            return None
        return outcome

    def run(self) -> list[float]:
        """When the steps came, from the start on."""
        self.worker._tracker.start()
        self.worker.run()
        return [round(at, 6) for at in self.steps]

    def status(self) -> WorkerStatus:
        """How it gets on."""
        status = self.worker.status()
        assert status is not None
        return status


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """Levels and messages of what was logged."""
    return [(record.levelno, record.getMessage()) for record in caplog.records]


def test_steps_come_at_an_interval() -> None:
    """From the end of one to the next, from the start on or after a first wait."""
    assert Rig([None, None, None]).run() == [0, 10, 20]
    assert Rig([None, None], replace(JOB, first_after_s=3.0)).run() == [3, 13]


def test_a_step_can_ask_for_another_wait() -> None:
    """For this one time."""
    assert Rig([2.5, 0.0, None, None]).run() == [0, 2.5, 2.5, 12.5]


def test_a_woken_worker_does_not_wait() -> None:
    """Nor when it was woken during a step: what it was woken for may have come too late for that one."""
    rig = Rig([None, None, None])
    rig.waiting.after(4, rig.worker.wake)
    assert rig.run() == [0, 4, 14]
    during = Rig([])
    during.outcomes = [during.worker.wake, None, None]
    assert during.run() == [0, 0, 10]


def test_a_worker_without_an_interval_waits_until_it_is_woken() -> None:
    """For ever, if need be."""
    rig = Rig([None, None], replace(JOB, every_s=NEVER, first_after_s=NEVER))
    rig.waiting.after(100, rig.worker.wake)
    rig.waiting.after(5000, rig.worker.wake)
    assert rig.run() == [100, 5000]


def test_failures_are_followed_by_the_list_of_waits() -> None:
    """The last one for ever; a success begins it anew."""
    assert Rig([AWAY, AWAY, AWAY, AWAY, None, AWAY, None]).run() == [0, 1, 3, 8, 13, 23, 24]


def test_a_class_of_failures_can_have_its_own_waits() -> None:
    """The nearest class counts; each list is counted for itself."""
    job = replace(JOB, back_offs_s={Unavailable: (0.5,), XrayRefused: (7.0, 8.0)})
    refused = XrayRefused("no")
    assert Rig([refused, refused, AWAY, refused, ValueError(), None], job).run() == [0, 7, 15, 15.5, 22.5, 23.5]


def test_waking_keeps_a_second_of_the_back_off() -> None:
    """Many may wake it while what it needs is away: that must not become a busy loop. Unless it is to be at once."""
    for wakes_at, expected in ((0.1, 4.0), (1.5, 4.5)):
        rig = Rig([AWAY, AWAY, AWAY, None])
        rig.waiting.after(3 + wakes_at, rig.worker.wake)
        assert rig.run() == [0, 1, 3, expected]
    rig = Rig([AWAY, AWAY, AWAY, None])
    rig.waiting.after(3.1, lambda: rig.worker.wake(at_once=True))
    assert rig.run() == [0, 1, 3, 3.1]


@pytest.mark.parametrize(
    "error",
    [ValueError("bug"), AWAY, MemoryError(), Strange(), Mute(), SystemExit(1), KeyboardInterrupt(), GeneratorExit(),
     asyncio.CancelledError(), OSError(30, "Read-only file system"), RecursionError(), StopIteration()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_no_exception_ends_it(error: BaseException) -> None:
    """Of whatever class: in a thread there is nobody to pass it on to."""
    rig = Rig([error, error, None])
    assert rig.run() == [0, 1, 3]
    assert rig.status().failing_for_s is None


def test_only_a_change_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Working, failing with the reason, working again: one line each, however long it takes."""
    caplog.set_level(logging.INFO)
    Rig([None, AWAY, AWAY, AWAY, None, None, AWAY, None]).run()
    failing, well = (logging.WARNING, "the work is not done: away"), "worker: works again after "
    assert lines(caplog) == [failing, (logging.INFO, f"{well}8.0 s"), failing, (logging.INFO, f"{well}1.0 s")]
    assert all(record.exc_info is None for record in caplog.records)


def test_a_bug_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Once, also when it comes while something expected goes on."""
    Rig([AWAY, ValueError("bug"), ValueError("bug"), AWAY, Mute(), None]).run()
    assert lines(caplog) == [
        (logging.WARNING, "the work is not done: away"),
        (logging.ERROR, "the work is not done (unexpected error): bug"),
    ]
    assert caplog.records[1].exc_info is not None


def test_what_is_soon_over_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Where the job says so: neither its beginning nor its end. A bug is logged at once all the same."""
    caplog.set_level(logging.INFO)
    job = replace(JOB, quiet_s=3.0)
    Rig([AWAY, AWAY, None, AWAY, None], job).run()
    assert lines(caplog) == []
    Rig([AWAY, AWAY, AWAY, None], job).run()
    assert [level for level, _ in lines(caplog)] == [logging.WARNING, logging.INFO]
    caplog.clear()
    Rig([ValueError("bug"), None], job).run()
    assert [level for level, _ in lines(caplog)] == [logging.ERROR, logging.INFO]


def test_it_tells_how_it_gets_on() -> None:
    """Before its start nothing; then the age of the last success, and what has been wrong since when."""
    rig = Rig([None, AWAY, Mute(), None])
    seen: list[WorkerStatus] = []
    for after_s in (5, 10.5, 12):
        rig.waiting.after(after_s, lambda: seen.append(rig.status()))
    assert rig.worker.status() is None
    rig.run()
    assert seen == [
        WorkerStatus("worker", 5.0, 20.0, False, None, ""),
        WorkerStatus("worker", 10.5, 20.0, False, 0.5, "away"),
        WorkerStatus("worker", 12.0, 20.0, False, 2.0, "Mute"),
    ]


def test_it_is_late_when_a_success_is_overdue() -> None:
    """By the time that the job allows, counted from when the step was due: not while there is nothing to do."""
    rig = Rig([None, *[AWAY] * 7, None])
    late: dict[float, bool] = {}
    for after_s in (29, 30, 31, 34):
        rig.waiting.after(after_s, lambda after_s=after_s: late.update({after_s: rig.status().is_late}))  # type: ignore[misc]
    assert rig.run()[-1] == 38
    assert late == {29: False, 30: False, 31: True, 34: True}
    assert not rig.status().is_late


def test_a_worker_that_waits_to_be_woken_is_late_only_then() -> None:
    """An hour without work is no fault; work that is not done is."""
    rig = Rig([], replace(JOB, every_s=NEVER, first_after_s=NEVER))
    late: list[bool] = []

    def hang() -> None:
        for after_s in (20, 1):
            rig.waiting.time += after_s
            late.append(rig.status().is_late)

    rig.outcomes = [hang, None]
    rig.waiting.after(3600, lambda: late.append(rig.status().is_late))
    rig.waiting.after(3600, rig.worker.wake)
    rig.waiting.after(7200, rig.worker.wake)
    rig.run()
    assert late == [False, False, True]


def test_a_step_that_lasts_can_say_that_it_succeeded(caplog: pytest.LogCaptureFixture) -> None:
    """A supervisor's step is as long as what it supervises: neither late nor failing meanwhile."""
    caplog.set_level(logging.INFO)
    rig = Rig([], replace(JOB, every_s=NEVER))
    seen: list[WorkerStatus] = []

    def live() -> None:
        rig.worker.wake()
        rig.worker.note_success()
        rig.waiting.time += 100_000
        seen.append(rig.status())
        raise AWAY

    rig.outcomes = [AWAY, live, None]
    assert rig.run() == [0, 1, 100_002]
    assert seen == [WorkerStatus("worker", 100_000.0, 20.0, False, None, "")]
    assert [level for level, _ in lines(caplog)] == [logging.WARNING, logging.INFO, logging.WARNING, logging.INFO]


@dataclass(slots=True)
class Held:
    """A step that waits until it is let go."""

    name: str = "held"
    order: list[str] = field(default_factory=list)
    began: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    def step(self) -> None:
        """Wait."""
        self.order.append(f"{self.name} begins")
        self.began.set()
        assert self.let_go.wait(30)
        self.order.append(f"{self.name} ends")

    def worker(self, interrupt: Callable[[], None], **job: float) -> Worker:
        """One that does this."""
        return Worker(replace(JOB, name=self.name, **job), self.step, interrupt)  # type: ignore[arg-type]


@pytest.fixture
def held() -> Iterator[Held]:
    """One that is let go in the end."""
    found = Held()
    yield found
    found.let_go.set()


def test_stop_interrupts_and_joins(held: Held) -> None:
    """When it returns, the step is over and the thread has gone; another start does nothing."""
    worker = held.worker(held.let_go.set)
    worker.start()
    worker.start()
    assert held.began.wait(30)
    worker.stop()
    assert held.order == ["held begins", "held ends"]
    assert not worker.is_alive
    worker.start()
    assert not worker.is_alive


def test_stop_waits_no_longer_than_it_may(held: Held, caplog: pytest.LogCaptureFixture) -> None:
    """A step that does not end is left behind, and that is logged; an interrupt that fails keeps nobody."""

    def fail() -> None:
        raise OSError

    worker = held.worker(fail, stop_within_s=0.01)
    worker.start()
    assert held.began.wait(30)
    worker.stop()
    assert worker.is_alive
    assert [message for _, message in lines(caplog)] == [
        "held could not be interrupted",
        "held did not end within 0.0 s; its thread is left running",
    ]


def test_a_stop_ends_a_wait_at_once() -> None:
    """Also one of an hour, or one without an end; a worker that never started is stopped already."""
    for every_s in (3600.0, NEVER):
        done = threading.Event()
        worker = Worker(replace(JOB, every_s=every_s), done.set)
        worker.start()
        assert done.wait(30)
        worker.stop()
        assert not worker.is_alive
    Worker(JOB, lambda: None).stop()


def test_workers_stop_in_reverse_order() -> None:
    """Each is joined before the one that it leans on is asked to end. Those that were introduced go on."""
    order: list[str] = []
    steps = [Held(name, order) for name in ("first", "second", "third")]
    workers = Workers()
    workers.add(*(step.worker(step.let_go.set) for step in steps))
    other = Worker(replace(JOB, name="other"), lambda: None)
    workers.introduce(other)
    assert workers.statuses() == ()
    workers.start()
    assert all(step.began.wait(30) for step in steps)
    assert [status.name for status in workers.statuses()] == ["first", "second", "third"]
    order.clear()
    workers.stop()
    assert order == ["third ends", "second ends", "first ends"]
    other.start()
    workers.stop()
    assert other.is_alive
    assert "other" in [status.name for status in workers.statuses()]
    other.stop()


def test_workers_that_hang_have_their_time_together(caplog: pytest.LogCaptureFixture) -> None:
    """Or else a stop would take as long as all of them in a row. Those before them are stopped all the same."""
    well, *hanging = [Held(name) for name in ("well", "one", "two", "three")]
    first = well.worker(well.let_go.set)
    workers = Workers()
    workers.add(first, *(step.worker(lambda: None, stop_within_s=60.0) for step in hanging))
    workers.start()
    assert all(step.began.wait(30) for step in (well, *hanging))
    began = time.monotonic()
    workers.stop(within_s=0.2)
    assert time.monotonic() - began < 5
    assert not first.is_alive
    assert [message.split()[0] for _, message in lines(caplog)] == ["three", "two", "one"]
    for step in hanging:
        step.let_go.set()


def test_an_async_worker_keeps_the_same_promises(caplog: pytest.LogCaptureFixture) -> None:
    """The same waits, log and state; it goes on over a CancelledError of something else, and ends with its own."""
    caplog.set_level(logging.INFO)
    waiting, steps = FakeWaiting(), list[float]()
    outcomes: list[BaseException | None] = [None, AWAY, asyncio.CancelledError(), Strange(), None]

    async def step() -> None:
        steps.append(waiting.time - 1000)
        if not outcomes:
            await asyncio.Event().wait()
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome

    worker = AsyncWorker(JOB, step, waiting)

    async def work() -> None:
        task = asyncio.create_task(worker.run())
        while len(steps) < 6:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    assert steps == [0, 10, 11, 13, 18, 28]
    assert [level for level, _ in lines(caplog)] == [logging.WARNING, logging.ERROR, logging.INFO]
    assert worker.status() == WorkerStatus("worker", 10.0, 20.0, False, None, "")


@pytest.mark.parametrize("wish", [KeyboardInterrupt, SystemExit])
def test_an_async_worker_lets_a_wish_to_end_pass(wish: type[BaseException]) -> None:
    """It runs in the main thread's event loop, where such a wish arrives."""

    async def step() -> None:
        raise wish

    with pytest.raises(wish):
        asyncio.run(AsyncWorker(JOB, step).run())


def test_an_async_worker_has_a_thread_of_its_own() -> None:
    """With an event loop; its stop breaks off the step under way and what that has started."""
    began, broken_off = threading.Event(), list[str]()

    async def wait(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.append(name)

    async def step() -> None:
        tasks.append(asyncio.create_task(wait("beside")))
        asyncio.get_running_loop().call_soon(began.set)
        await wait("step")

    tasks: list[asyncio.Task[None]] = []
    worker = AsyncWorker(JOB, step)
    worker.start()
    assert began.wait(30)
    worker.stop()
    assert not worker.is_alive
    assert sorted(broken_off) == ["beside", "step"]
    worker.start()
    assert not worker.is_alive


def test_an_async_worker_survives_its_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of files, say: no event loop can be made, until it can."""
    failures, real, done = [OSError(24, "Too many open files")] * 2, asyncio.run, threading.Event()

    def run(work: object) -> None:
        if failures:
            work.close()  # type: ignore[attr-defined]
            raise failures.pop()
        real(work)  # type: ignore[arg-type]

    async def step() -> None:
        done.set()

    monkeypatch.setattr("vpnkeys.worker.task.asyncio.run", run)
    worker = AsyncWorker(replace(JOB, back_off_s=(0.001,)), step)
    worker.start()
    assert done.wait(30)
    worker.stop()
    assert not worker.is_alive


def test_what_is_broken_off_returns() -> None:
    """Without an exception; when nothing runs there is nothing to break off."""
    runs, began = Interruptible(), threading.Event()
    runs.interrupt()

    async def work() -> None:
        began.set()
        await asyncio.Event().wait()

    thread = threading.Thread(target=lambda: runs.run(work))
    thread.start()
    assert began.wait(30)
    runs.interrupt()
    thread.join(30)
    assert not thread.is_alive()
    runs.interrupt()
