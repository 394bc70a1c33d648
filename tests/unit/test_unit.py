"""Watching an Xray that somebody else keeps running, with a program in its place that listens on the API's socket."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.support import procfs
from tests.support.process import wait_until

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.xray.process import unit
from vpnkeys.xray.process.unit import XrayUnit, probing_pid
from vpnkeys.xray.rpc.counters import XrayCounters

FAKE_XRAY = """
import signal, socket, sys, time
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(1024)
while True:
    listener.accept()[0].close()
"""


@dataclass(slots=True)
class Watched:
    """A watcher, what it told, and the processes of whoever keeps Xray running, which is the test."""

    run: Path
    told: list[int | str] = field(default_factory=list)
    surprises: list[BaseException] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    unit: XrayUnit = field(init=False)

    def __post_init__(self) -> None:
        self.unit = XrayUnit(self.socket, self.up, lambda: self.told.append("down"))

    def up(self, pid: int) -> None:
        """A life was seen."""
        if self.surprises:
            raise self.surprises.pop()
        self.told.append(pid)

    @property
    def socket(self) -> Path:
        """The API's."""
        return self.run / "api.sock"

    def launch(self, manners: str = "") -> int:
        """The next life; it listens when this returns."""
        self.socket.unlink(missing_ok=True)
        command = [sys.executable, "-c", FAKE_XRAY, str(self.socket), manners]
        self.processes.append(subprocess.Popen(command))
        assert wait_until(self._listens)
        return self.processes[-1].pid

    def seen(self) -> tuple[int | None, int]:
        """The present process id and the number of restarts."""
        return self.unit.pid, self.unit.restarts

    def _listens(self) -> bool:
        try:
            return XrayCounters(self.socket).pid() == self.processes[-1].pid
        except XrayUnavailable:
            return False

    def reap(self) -> None:
        """As a supervisor does at once."""
        self.processes[-1].wait(20)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Until it holds."""
        assert wait_until(condition), f"waited in vain: {self}"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A watcher that has not begun; in the end nothing is left."""
    found = Watched(tmp_path)
    yield found
    found.unit.stop()
    for process in found.processes:
        process.kill()
        process.wait()


def test_it_sees_lives_come_and_go(watched: Watched) -> None:
    """Each is told once with its process id, each end once; the first one that is seen is no restart."""
    watched.unit.start()
    assert watched.seen() == (None, 0)
    first = watched.launch()
    watched.wait_for(lambda: watched.told == [first])
    assert watched.seen() == (first, 0)
    watched.processes[0].kill()
    watched.reap()
    watched.wait_for(lambda: watched.told == [first, "down"])
    assert watched.seen() == (None, 0)
    second = watched.launch()
    watched.wait_for(lambda: watched.told == [first, "down", second])
    assert watched.seen() == (second, 1)


def test_a_life_that_could_not_be_told_is_told_again(watched: Watched) -> None:
    """Whatever it was: an Xray that is left without its keys would be worse. It is no restart."""
    watched.surprises += [RuntimeError("bug"), SystemExit(1)]
    watched.unit.start()
    pid = watched.launch()
    watched.wait_for(lambda: watched.told == [pid])
    assert watched.seen() == (pid, 0)


def test_one_that_ended_and_is_not_reaped_is_gone(watched: Watched) -> None:
    """Its process id is still there, and nothing else of it."""
    watched.unit.start()
    pid = watched.launch()
    watched.wait_for(lambda: watched.told == [pid])
    watched.processes[0].kill()
    watched.wait_for(lambda: watched.told == [pid, "down"])
    assert watched.unit.pid is None


def test_a_quick_change_is_an_end_and_a_beginning(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the next one is there before anybody looked."""
    monkeypatch.setattr(unit, "_JOB", replace(unit._JOB, every_s=2.0))
    watched.__post_init__()  # another one, which looks as rarely
    watched.unit.start()
    first = watched.launch()
    watched.wait_for(lambda: watched.told == [first])
    watched.processes[0].kill()
    watched.reap()
    second = watched.launch()
    watched.wait_for(lambda: watched.told == [first, "down", second])
    assert watched.unit.restarts == 1


def test_stopping_ends_the_watching_alone(watched: Watched) -> None:
    """Xray goes on, and its end is nobody's business any more."""
    watched.unit.start()
    pid = watched.launch()
    watched.wait_for(lambda: watched.told == [pid])
    watched.unit.stop()
    assert procfs.is_alive(pid)
    assert watched.told == [pid]


def test_a_restart_ends_the_present_one(watched: Watched) -> None:
    """When it returns, that life is over and told to be, and the note of its start gone: it did not die young."""
    note = watched.run / "xray.json"
    note.touch()
    watched.unit.start()
    pid = watched.launch()
    watched.wait_for(lambda: watched.told == [pid])
    watched.unit.restart()
    assert watched.told == [pid, "down"]
    assert not procfs.is_alive(pid)
    assert not note.exists()
    watched.reap()
    assert watched.processes[0].returncode == -signal.SIGTERM
    watched.unit.restart()  # between two lives: the next one is on its way
    second = watched.launch()
    watched.wait_for(lambda: watched.told == [pid, "down", second])
    assert procfs.is_alive(second)


def test_one_that_does_not_listen_to_reason_is_killed(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart comes to an end."""
    monkeypatch.setattr(unit, "_STOP_TIMEOUT_S", 0.3)
    watched.unit.start()
    pid = watched.launch("deaf")
    watched.wait_for(lambda: watched.told == [pid])
    watched.unit.restart()
    watched.reap()
    assert watched.processes[0].returncode == -signal.SIGKILL


def test_one_that_hangs_is_restarted_too(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what restarts are for."""
    monkeypatch.setattr(unit, "_STOP_TIMEOUT_S", 0.3)
    watched.unit.start()
    pid = watched.launch()
    watched.wait_for(lambda: watched.told == [pid])
    os.kill(pid, signal.SIGSTOP)
    watched.socket.unlink()
    watched.unit.restart()
    assert watched.told == [pid, "down"]


def test_nobody_else_is_ended(watched: Watched) -> None:
    """A process that got the id of an Xray that is gone has nothing to fear."""
    pid = watched.launch()
    stranger = unit._ProcessLife(pid, f"00000000-{pid}-1")
    unit._end(stranger)
    time.sleep(0.1)
    assert watched.processes[0].poll() is None


def test_who_may_not_end_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's Xray: what to change is in the message."""

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    with pytest.raises(XrayUnavailable, match="same user"):
        unit._send(1, signal.SIGTERM)


def test_only_a_young_one_has_probes(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old one's connections to the targets' addresses are customers' own."""
    counters = XrayCounters(watched.socket)
    with pytest.raises(XrayUnavailable):
        probing_pid(counters)
    pid = watched.launch()
    assert probing_pid(counters) == pid
    monkeypatch.setattr(unit, "_PROBES_TAKE_S", 0.0)
    assert wait_until(lambda: _is_old(counters))


def _is_old(counters: XrayCounters) -> bool:
    try:
        probing_pid(counters)
    except XrayUnavailable:
        return True
    return False


def test_one_that_hangs_can_be_killed(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen, it takes no SIGTERM; only the process that was meant is killed, and only where we may."""
    watched.unit.start()
    pid = watched.launch()
    watched.wait_for(lambda: watched.told == [pid])
    os.kill(pid, signal.SIGSTOP)
    watched.unit.kill(pid + 1)
    assert procfs.is_alive(pid)
    with monkeypatch.context() as patch:
        patch.setattr("vpnkeys.xray.process.unit.os.kill", _forbid)
        with pytest.raises(XrayUnavailable, match="same user"):
            watched.unit.kill(pid)
    watched.unit.kill(pid)
    watched.reap()
    watched.wait_for(lambda: watched.told == [pid, "down"])


def _forbid(_pid: int, _number: int) -> None:
    raise PermissionError
