"""The supervisor, with a program in place of Xray that does what a test needs."""

import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.support import procfs
from tests.support.process import wait_until
from tests.support.slowness import slowness

from vpnkeys.xray.config.start import ChosenFile
from vpnkeys.xray.host.processes import epoch_of, start_ticks
from vpnkeys.xray.process.child import XrayCommand, XrayProcess

# What it does stands in the "config": it is a shell script.
FAKE_XRAY = """#!/bin/sh
[ "$1 $2 $3 $4" = "run -format json -c" ] || exit 9
. "$5"
"""
STAY = "echo started; while :; do sleep 0.05; done"
DIE = "echo cannot listen; exit 23"


@dataclass(slots=True)
class Supervised:
    """A supervisor, and what it told."""

    directory: Path
    config_text: str = STAY
    asked: list[int] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    ups: list[float] = field(default_factory=list)
    downs: int = 0
    surprises: list[BaseException] = field(default_factory=list)
    process: XrayProcess = field(init=False)

    def __post_init__(self) -> None:
        binary = self.directory / "xray"
        binary.write_text(FAKE_XRAY)
        binary.chmod(0o755)
        command = XrayCommand(binary, self.config, (self.socket,), {"PATH": os.environ["PATH"]})
        self.process = XrayProcess(command, self.up, self.down)

    @property
    def socket(self) -> Path:
        """Where a killed Xray would leave a socket."""
        return self.directory / "api.sock"

    def config(self, quick_exits: int) -> ChosenFile:
        """The script for the next life."""
        self.asked.append(quick_exits)
        path = self.directory / "config.json"
        path.write_text(self.config_text)
        return ChosenFile(path)

    def up(self, pid: int) -> None:
        """A life began."""
        self.pids.append(pid)
        self.ups.append(time.monotonic())
        if self.surprises:
            raise self.surprises.pop()

    def down(self) -> None:
        """A life ended."""
        self.downs += 1

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Until it holds."""
        assert wait_until(condition), f"waited in vain: {self}, {self.process.last_words()!r}"

    def wait_started(self) -> int:
        """The pid of a life that says that it has begun."""
        self.wait_for(lambda: self.process.last_words().endswith("started") and self.process.pid is not None)
        return self.pids[-1]


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    """A supervisor that is stopped in the end."""
    found = Supervised(tmp_path)
    yield found
    found.process.stop()


def test_a_killed_xray_is_back_at_once(supervised: Supervised) -> None:
    """The first unexpected end costs no wait: a new process, told to whoever wants to know."""
    supervised.process.start()
    first = supervised.wait_started()
    os.kill(first, signal.SIGKILL)
    killed = time.monotonic()
    supervised.wait_for(lambda: len(supervised.pids) == 2)
    assert supervised.ups[1] - killed < 2 * slowness()
    assert supervised.pids[1] != first
    assert supervised.downs == 1
    assert supervised.process.restarts == 1


def test_one_that_dies_young_is_started_ever_slower(supervised: Supervised) -> None:
    """No busy loop, and never more than two seconds away; the starts are told how often it died young."""
    supervised.config_text = DIE
    supervised.process.start()
    supervised.wait_for(lambda: len(supervised.pids) >= 4)
    assert supervised.asked[:4] == [0, 1, 2, 3]
    waits = [after - before for before, after in zip(supervised.ups, supervised.ups[1:], strict=False)]
    assert 0.2 <= waits[0] < 2
    assert waits[1] >= 0.5
    assert waits[2] >= 1.0
    assert supervised.process.last_words().splitlines()[-1] == "cannot listen"


def test_a_program_that_cannot_be_started_is_tried_again(supervised: Supervised) -> None:
    """Say, while it is being replaced by a newer one."""
    binary = supervised.directory / "xray"
    binary.rename(supervised.directory / "away")
    supervised.process.start()
    supervised.wait_for(lambda: len(supervised.asked) >= 2)
    assert "No such file" in supervised.process.last_words()
    assert supervised.process.pid is None
    (supervised.directory / "away").rename(binary)
    supervised.wait_started()


def test_a_restart_is_at_once(supervised: Supervised) -> None:
    """Asked for, it is no death: the next life begins without a wait, however often."""
    supervised.process.start()
    for lives in range(1, 5):
        before = supervised.wait_started()
        supervised.process._last_lines.clear()  # before the next life says that it has begun
        asked_at = time.monotonic()
        supervised.process.restart()
        supervised.wait_for(lambda lives=lives: len(supervised.pids) == lives + 1)  # type: ignore[misc]
        assert supervised.ups[-1] - asked_at < 1 * slowness()
        assert not procfs.is_alive(before)
    assert set(supervised.asked) == {0}


def test_a_restart_does_not_wait_for_the_next_try(supervised: Supervised) -> None:
    """Between two tries, asking means now."""
    supervised.config_text = DIE
    supervised.process.start()
    supervised.wait_for(lambda: len(supervised.pids) == 4)
    supervised.wait_for(lambda: supervised.process.pid is None and supervised.downs == 4)
    asked_at = time.monotonic()
    supervised.process.restart()
    supervised.wait_for(lambda: len(supervised.pids) == 5)
    assert supervised.ups[-1] - asked_at < 0.7 * slowness()
    assert supervised.asked[4] == 0, "who asks has put right what was wrong"


def test_a_restart_of_a_young_one_tries_all_again(supervised: Supervised) -> None:
    """The cure that `config_left_out` names works at once, not only once Xray is ten seconds old."""
    supervised.config_text = DIE
    supervised.process.start()
    supervised.wait_for(lambda: len(supervised.asked) == 4)
    supervised.config_text = STAY
    supervised.wait_started()
    count = len(supervised.asked)
    supervised.process.restart()
    supervised.wait_for(lambda: len(supervised.asked) == count + 1)
    assert supervised.asked[-1] == 0


def test_stop_ends_it_for_good(supervised: Supervised) -> None:
    """When it returns, the process is gone, and no other comes."""
    supervised.process.start()
    pid = supervised.wait_started()
    supervised.process.stop()
    assert not procfs.is_alive(pid)
    assert supervised.process.pid is None
    assert (len(supervised.pids), supervised.downs) == (1, 1)


def test_stop_does_not_wait_for_the_next_try(supervised: Supervised) -> None:
    """A service that cannot start its Xray can still be stopped."""
    supervised.config_text = DIE
    supervised.process.start()
    supervised.wait_for(lambda: len(supervised.pids) == 4)
    began = time.monotonic()
    supervised.process.stop()
    assert time.monotonic() - began < 1 * slowness()


def test_one_that_does_not_listen_to_reason_is_killed(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop ends in time."""
    monkeypatch.setattr("vpnkeys.xray.process.child._STOP_TIMEOUT_S", 0.2)
    supervised.config_text = f"trap '' TERM; {STAY}"
    supervised.process.start()
    pid = supervised.wait_started()
    supervised.process.stop()
    assert not procfs.is_alive(pid)


def test_one_that_hangs_can_be_killed(supervised: Supervised) -> None:
    """Frozen, it takes no SIGTERM; only the process that was meant is killed, and the next one comes at once."""
    supervised.process.start()
    first = supervised.wait_started()
    os.kill(first, signal.SIGSTOP)
    supervised.process.kill(first + 1)
    assert procfs.is_alive(first)
    supervised.process.kill(first)
    supervised.wait_for(lambda: len(supervised.pids) == 2)
    assert not procfs.is_alive(first)


def test_what_a_killed_xray_left_is_removed(supervised: Supervised) -> None:
    """Its Unix socket and the lock beside it would keep the next life from starting."""
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(os.fspath(supervised.socket))
    lock = supervised.directory / "api.sock.lock"
    lock.touch()
    supervised.process.start()
    supervised.wait_started()
    assert not supervised.socket.exists()
    assert not lock.exists()


def test_nothing_is_left_when_the_service_is_killed(tmp_path: Path) -> None:
    """SIGKILL gives nobody time to tidy up; the kernel ends Xray with its parent."""
    code = (
        "import pathlib, sys, threading; from tests.unit.test_process import Supervised\n"
        "s = Supervised(pathlib.Path(sys.argv[1])); s.process.start()\n"
        "print(s.wait_started(), flush=True); threading.Event().wait()"
    )
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert procfs.is_alive(pid)
        parent.kill()
    assert wait_until(lambda: not procfs.is_alive(pid))


def test_xray_sees_none_of_our_environment(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are secrets in it."""
    monkeypatch.setenv("VPNKEYS_API_KEY", "very secret indeed")
    supervised.config_text = f"env; {STAY}"
    supervised.process.start()
    supervised.wait_started()
    assert "PATH=" in supervised.process.last_words()
    assert "secret" not in supervised.process.last_words()


def test_an_epoch_names_one_process_life(supervised: Supervised) -> None:
    """The same as long as it lives, another after a restart; none for what is gone."""
    supervised.process.start()
    pid = supervised.wait_started()
    epoch = epoch_of(pid)
    assert epoch == epoch_of(pid) != epoch_of(os.getpid())
    assert start_ticks(pid) >= start_ticks(os.getpid())
    supervised.process.stop()
    with pytest.raises(OSError, match="No such"):
        epoch_of(pid)


def test_no_thread_is_left(supervised: Supervised) -> None:
    """A stopped supervisor is gone."""
    supervised.process.start()
    supervised.wait_started()
    supervised.process.stop()
    assert "xray-supervisor" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("error", [OSError(errno.EROFS, "Read-only file system"), RuntimeError("bug"), SystemExit(1)])
def test_what_cannot_be_tidied_up_is_tried_again(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that has become read-only, above all: Xray is back when it is writable again. It is logged once."""
    tries: list[None] = []

    def fail(_sockets: object) -> None:
        tries.append(None)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("vpnkeys.xray.process.child.unlink_all", fail)
        supervised.process.start()
        supervised.wait_for(lambda: len(tries) == 3)
        assert supervised.process.pid is None
    supervised.wait_started()
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_a_directory_that_was_removed_is_made_again(supervised: Supervised) -> None:
    """Without it Xray could not make its sockets."""
    run = supervised.directory / "run"
    supervised.process._command = replace(supervised.process._command, sockets=(run / "api.sock",))
    supervised.process.start()
    first = supervised.wait_started()
    assert run.stat().st_mode & 0o777 == 0o700
    run.rmdir()
    os.kill(first, signal.SIGKILL)
    supervised.wait_for(lambda: len(supervised.pids) == 2)
    assert run.is_dir()


def test_two_never_run_at_a_time(supervised: Supervised) -> None:
    """When something fails here while Xray starts, that one is ended before the next begins."""
    supervised.surprises.append(RuntimeError("bug"))
    supervised.process.start()
    supervised.wait_for(lambda: len(supervised.pids) == 2)
    assert not procfs.is_alive(supervised.pids[0])
    supervised.wait_started()
    assert supervised.downs == 1


def test_one_that_has_grown_up_is_well(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it says nothing and when it says a lot; what failed before is over, and its next death is the first."""
    monkeypatch.setattr("vpnkeys.xray.process.child.STABLE_AFTER_S", 0.3)

    def failing() -> bool:
        status = supervised.process.worker.status()
        return status is not None and status.failing_for_s is not None

    supervised.config_text = DIE
    supervised.process.start()
    supervised.wait_for(failing)
    for text in (STAY, "while :; do echo started; done"):
        supervised.config_text = text
        supervised.wait_for(lambda: not failing() and supervised.process.pid is not None)
        os.kill(supervised.pids[-1], signal.SIGKILL)
    supervised.wait_for(lambda: supervised.asked[-1] == 0)
