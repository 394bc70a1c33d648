"""Xray as our child: started, watched, brought back, and never left behind."""

import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vpnkeys.worker import NEVER, Job, Worker

_log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

GROWN_UP_S = 10.0
_STOP_TIMEOUT_S = 3.0
_KEPT_LINES = 50
_LONGEST_LINE = 65_536


class XrayDown(Exception):
    """Xray ended young, or could not be started; the message says how."""


_JOB = Job(
    name="xray-supervisor",
    failing="Xray does not keep running",
    every_s=NEVER,
    back_off_s=(0.2, 0.5, 1.0, 1.5),  # back within 2 s
    late_after_s=3 * GROWN_UP_S,
    expected=(XrayDown, OSError),
    stop_within_s=2 * _STOP_TIMEOUT_S,
)


@dataclass(frozen=True, slots=True)
class XrayCommand:
    """How Xray is started.

    `config` gives the file, told how often in a row Xray ended young. `sockets` are Unix sockets that a killed Xray
    leaves behind, with their `.lock` files.
    """

    binary: Path
    config: Callable[[int], Path]
    sockets: tuple[Path, ...]
    environment: Mapping[str, str]


# Run by a Python of its own, which becomes Xray. The prctl cannot be done in a `preexec_fn`: that would run Python in a
# fork of a process with threads, where a lock that another thread held at that moment is never released.
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(int(sys.argv[1]), int(sys.argv[2]))
if os.getppid() == int(sys.argv[3]):  # else it died before the kernel was told
    os.execv(sys.argv[4], sys.argv[4:])
"""


def command_line(binary: Path, config: Path) -> list[str]:
    """Xray with this file, which need not be called .json."""
    return [str(binary), "run", "-format", "json", "-c", str(config)]


def spawn(binary: Path, config: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start an Xray that dies with the calling thread, however that ends. Its output is one pipe. Raises OSError."""
    binary.stat()  # raises here what would else be raised over there
    guard = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT]
    arguments = [str(_PR_SET_PDEATHSIG), str(int(signal.SIGKILL)), str(os.getpid())]
    return subprocess.Popen(
        [*guard, *arguments, *command_line(binary, config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        text=True,
        errors="replace",
        # A new session: Ctrl-C in the terminal is for us; we then end Xray in order.
        start_new_session=True,
    )


class XrayProcess:
    """Keeps one Xray running from `start` to `stop`.

    `on_up(pid)` is called in the supervisor's thread when a new Xray was started (it may not answer yet), `on_down()`
    when it ended, expected or not. The child dies with this process, also when that is killed: the kernel sends it
    SIGKILL when the thread that started it ends (PR_SET_PDEATHSIG), and that thread lives here.
    """

    outlives_us: ClassVar[bool] = False

    def __init__(self, command: XrayCommand, on_up: Callable[[int], None], on_down: Callable[[], None]) -> None:
        self._command = command
        self._on_up = on_up
        self._on_down = on_down
        self._child: subprocess.Popen[str] | None = None
        self._asked_for = threading.Event()
        self._quick_exits = 0
        self._starts = 0
        self.worker = Worker(_JOB, self._live, interrupt=self._terminate)
        self._tail: deque[str] = deque(maxlen=_KEPT_LINES)

    def start(self) -> None:
        """Begin supervising; returns at once."""
        self.worker.start()

    def stop(self) -> None:
        """End Xray for good and wait for it."""
        self.worker.stop()

    def restart(self) -> None:
        """End the present Xray; the supervisor starts the next one without a wait."""
        self._asked_for.set()
        self.worker.wake(at_once=True)
        self._terminate()

    @property
    def restarts(self) -> int:
        """How often Xray was started again, or should have been."""
        return max(self._starts - 1, 0)

    @property
    def pid(self) -> int | None:
        """The present Xray's process id."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def last_words(self) -> str:
        """What Xray said last, for an operator who wonders why it does not start."""
        return "\n".join(self._tail)

    def _live(self) -> float:
        """One life of Xray, from its start to its end; the next one comes at once. Raises XrayDown, OSError."""
        self._starts += 1
        self._asked_for.clear()
        began = time.monotonic()
        quick_exits, self._quick_exits = self._quick_exits, self._quick_exits + 1  # until it turns out otherwise
        code = self._run_once(began, quick_exits)
        age_s = time.monotonic() - began
        if age_s >= GROWN_UP_S:
            self._quick_exits = 0
        elif self._asked_for.is_set() or self.worker.is_stopping:
            self._quick_exits = quick_exits
        if self._asked_for.is_set() or self.worker.is_stopping:
            return 0.0
        what = f"Xray ended ({code}) after {age_s:.1f} s; last words: {self._tail[-1] if self._tail else 'none'}"
        if age_s < GROWN_UP_S:
            raise XrayDown(what)
        _log.warning("%s; it is started again", what)
        return 0.0

    def _run_once(self, began: float, quick_exits: int) -> int:
        try:
            child = self._spawn(quick_exits)
        except OSError as error:
            self._tail.append(str(error))
            raise
        self._child = child
        try:
            if self.worker.is_stopping:
                child.kill()
            self._on_up(child.pid)
            self._listen(child, began)
            return child.wait()
        finally:
            if child.poll() is None:  # something failed here: two at a time would share each port
                child.kill()
                child.wait()
            self._child = None
            if child.stdout is not None:
                child.stdout.close()
            self._on_down()

    def _spawn(self, quick_exits: int) -> subprocess.Popen[str]:
        for directory in {socket.parent for socket in self._command.sockets}:
            directory.mkdir(mode=0o700, exist_ok=True)  # somebody may have tidied up
        unlink_all(self._command.sockets)
        return spawn(self._command.binary, self._command.config(quick_exits), self._command.environment)

    def _listen(self, child: subprocess.Popen[str], began: float) -> None:
        """Keep its last lines until it ends; note when it has grown up."""
        if child.stdout is None:
            return
        said = select.poll()
        said.register(child.stdout, select.POLLIN)
        rest, is_young = b"", True
        while True:
            left_s = began + GROWN_UP_S - time.monotonic()
            if is_young and left_s <= 0:
                is_young = False
                self.worker.note_success()
            if not said.poll(left_s * 1000 + 1 if is_young else None):
                continue
            chunk = os.read(child.stdout.fileno(), _LONGEST_LINE)
            if not chunk:
                break
            *lines, rest = (rest[-_LONGEST_LINE:] + chunk).split(b"\n")
            self._tail.extend(line.decode(errors="replace").rstrip() for line in lines)
        if rest:
            self._tail.append(rest.decode(errors="replace").rstrip())

    def _terminate(self) -> None:
        child = self._child
        if child is None:
            return
        child.terminate()
        try:
            child.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _log.warning("Xray did not end within %.0f s and is killed", _STOP_TIMEOUT_S)
            child.kill()


def unlink_all(sockets: Iterable[Path]) -> None:
    """Remove what a killed Xray left: its next life would not start over it."""
    for socket in sockets:
        socket.unlink(missing_ok=True)
        socket.with_name(socket.name + ".lock").unlink(missing_ok=True)
