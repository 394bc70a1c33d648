"""An Xray that hangs is noticed and ended, with a clock, a process and answers in the test's hand."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.xray.process.hang import HUNG_AFTER_S, STARTED_WITHIN_S, HangWatch

TIMEOUT_S = 1.2


@dataclass
class World:
    """Xray, which answers or not; a question without an answer takes its whole time."""

    pid: int | None = 1
    answers: bool = True
    answers_a_sample: bool = False
    socket_is_gone: bool = False
    now: float = 1000.0
    ended: list[tuple[int, float]] = field(default_factory=list)
    watch: HangWatch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = HangWatch(self, self.ask, self.sample, self.find, now=lambda: self.now)

    def ask(self) -> None:
        """A question."""
        if not self.answers:
            self.now += TIMEOUT_S
            raise XrayUnavailable("no answer")

    def sample(self) -> None:
        """The last sample."""
        if not self.answers_a_sample:
            raise XrayUnavailable("no answer")

    def find(self) -> int:
        """Where the socket leads."""
        if self.socket_is_gone:
            raise XrayUnavailable("no socket")
        return self.pid or 0

    def kill(self, pid: int) -> None:
        """End it; the next one comes at once."""
        self.ended.append((pid, self.now))
        self.pid = pid + 1

    def run(self, seconds: float) -> None:
        """Let the worker do its steps for so long."""
        end = self.now + seconds
        while self.now < end:
            wait_s = self.watch.look()
            self.now += self.watch.worker.job.every_s if wait_s is None else wait_s


def test_one_that_hangs_is_ended_after_ten_seconds() -> None:
    """Not before, and not much later; how long it has been silent can be read meanwhile."""
    world = World()
    world.run(60)
    assert (world.ended, world.watch.silent_for_s) == ([], 0.0)
    world.answers, hung_at = False, world.now
    world.run(HUNG_AFTER_S / 2)
    assert (world.ended, world.watch.silent_for_s > HUNG_AFTER_S / 3) == ([], True)
    world.run(HUNG_AFTER_S)
    ((pid, ended_at),) = world.ended
    assert pid == 1
    assert HUNG_AFTER_S <= ended_at - hung_at <= HUNG_AFTER_S + 2 * TIMEOUT_S


def test_one_whose_socket_is_gone_is_ended_too() -> None:
    """It answers on what is open, also when it is sampled for the last time; nobody else can ask it any more."""
    world = World(answers_a_sample=True)
    world.socket_is_gone, gone_at = True, world.now
    world.run(HUNG_AFTER_S + 2)
    ((pid, ended_at),) = world.ended
    assert (pid, ended_at - gone_at <= HUNG_AFTER_S + 2) == (1, True)


def test_a_short_silence_ends_nothing() -> None:
    """Eight seconds, again and again: each answer begins anew."""
    world = World()
    for _ in range(10):
        world.answers = True
        world.run(1)
        world.answers = False
        world.run(7)
    assert world.ended == []


def test_one_that_starts_has_time() -> None:
    """With thousands of keys it takes a while to its first answer; one that never gives one is ended too."""
    world = World(answers=False)
    world.run(STARTED_WITHIN_S - 5)
    assert world.ended == []
    world.run(10)
    assert [pid for pid, _ in world.ended] == [1]


def test_a_slow_start_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """After a few seconds, with how long it may take; each process is told of."""
    world = World(answers=False)
    world.run(4)
    assert caplog.messages == []
    world.run(60)
    (line,) = caplog.messages
    assert "process 1" in line
    assert "ended after 120 s" in line
    world.pid = 7
    world.run(60)
    assert "process 7" in caplog.messages[1]
    world.answers = True
    world.run(2)
    world.answers = False
    world.run(8)
    assert len(caplog.messages) == 2


def test_a_new_process_begins_anew() -> None:
    """One that was restarted while it was silent is not ended for the silence of the one before."""
    world = World()
    world.run(4)
    world.answers = False
    world.run(8)
    world.pid = 7
    world.run(20)
    assert world.ended == []
    world.pid = None
    world.run(200)
    assert (world.ended, world.watch.silent_for_s) == ([], 0.0)


def test_one_that_gives_a_last_sample_goes_on() -> None:
    """It answers after all, late."""
    world = World(answers_a_sample=True)
    world.run(4)
    world.answers = False
    world.run(60)
    assert world.ended == []


def test_a_server_that_stood_still_blames_nobody() -> None:
    """An hour in which nothing was asked is no silence of Xray: it takes several questions without an answer."""
    world = World()
    world.run(4)
    world.answers = False
    world.now += 3600
    world.watch.look()
    world.answers = True
    world.run(20)
    assert world.ended == []


def test_one_that_may_not_be_ended_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker fails, so that log, metrics and health say so."""
    world = World()
    world.run(4)
    world.answers = False

    def refuse(pid: int) -> None:
        raise XrayUnavailable(f"process {pid} may not be ended")

    monkeypatch.setattr(world, "kill", refuse)
    with pytest.raises(XrayUnavailable, match="may not be ended"):
        world.run(20)


def test_others_read_its_last_answer_and_ask_nothing() -> None:
    """Before its first question, while Xray is silent, and while no process lives, there is none."""
    world = World()
    for answers, pid, is_there in [(True, 1, True), (False, 1, False), (True, 1, True), (True, None, False)]:
        world.answers, world.pid = answers, pid
        world.watch.look()
        asked_at = world.now
        assert is_answered(world) is is_there
        assert world.now == asked_at
    assert not is_answered(World())


def is_answered(world: World) -> bool:
    """What `/health` reads."""
    try:
        world.watch.require_answer()
    except XrayUnavailable:
        return False
    return True
