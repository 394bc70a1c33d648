"""Runs Xray as a child process: starts it, restarts it when it ends, and ends it with the server."""

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

from vpnkeys.rundir import ensure_run_dir
from vpnkeys.worker import NEVER, Job, Worker
from vpnkeys.xray.config.start import ChosenFile

_log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

STABLE_AFTER_S = 10.0
"""An Xray that ends sooner made a quick exit: its configuration or a port is the likely cause."""
_STOP_TIMEOUT_S = 3.0
_KEPT_LINES = 50
_LONGEST_LINE = 65_536  # also the capacity of a pipe (pipe(7))


class XrayExited(Exception):
    """Raised when Xray ended within ten seconds of its start; the message says how."""


_JOB = Job(
    name="xray-supervisor",
    failing="Xray does not keep running",
    every_s=NEVER,
    back_off_s=(0.2, 0.5, 1.0, 1.5),  # back within 2 s
    late_after_s=3 * STABLE_AFTER_S,
    expected=(XrayExited, OSError),
    stop_within_s=2 * _STOP_TIMEOUT_S,
)


@dataclass(frozen=True, slots=True)
class XrayCommand:
    """How to start Xray.

    `config` returns the file for the number of quick exits in a row. `sockets` are the Unix sockets that a killed Xray
    leaves, with their `.lock` files; their directory is below `memory` where that is possible (`vpnkeys.rundir`).
    """

    binary: Path
    config: Callable[[int], ChosenFile]
    sockets: tuple[Path, ...]
    environment: Mapping[str, str]
    memory: Path | None = None


# Run by a Python of its own, which then executes Xray: PR_SET_PDEATHSIG survives execve(2). Not in a `preexec_fn`,
# which runs Python in a fork of a process with threads, where a lock that another thread held is never released.
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(int(sys.argv[1]), int(sys.argv[2]))
if os.getppid() == int(sys.argv[3]):  # else the parent died before the prctl
    os.execv(sys.argv[4], sys.argv[4:])
"""


def command_line(binary: Path, config: Path) -> list[str]:
    """Return the command that runs Xray with this file, whatever its extension is."""
    return [str(binary), "run", "-format", "json", "-c", str(config)]


def spawn(binary: Path, config: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start an Xray that is killed when the calling thread ends. Its output is one pipe. Raises OSError."""
    binary.stat()  # a missing program raises here, not in the Python below
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
        # A session of its own: Ctrl-C in the terminal signals only the server, which then ends Xray in order.
        start_new_session=True,
    )


class XrayProcess:
    """Keeps one Xray running from `start` to `stop`.

    The supervisor's thread calls `on_up(pid)` when a new Xray was started, which may not answer yet, and `on_down()`
    when it ended, expected or not. The kernel kills the child when the thread that started it ends (PR_SET_PDEATHSIG,
    prctl(2)), so also when the server is killed. That thread must be the supervisor's, which lives as long as Xray.
    """

    outlives_us: ClassVar[bool] = False

    def __init__(self, command: XrayCommand, on_up: Callable[[int], None], on_down: Callable[[], None]) -> None:
        self._command = command
        self._on_up = on_up
        self._on_down = on_down
        self._child: subprocess.Popen[str] | None = None
        self._restart_requested = threading.Event()
        self._quick_exits = 0
        self._is_bare = False
        self._starts = 0
        self.worker = Worker(_JOB, self._run_until_exit, interrupt=self._terminate)
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)

    def start(self) -> None:
        """Start Xray in the supervisor's thread; return at once."""
        self.worker.start()

    def stop(self) -> None:
        """End Xray, and wait for the end."""
        self.worker.stop()

    def restart(self) -> None:
        """End Xray with SIGTERM, after three seconds SIGKILL; the supervisor starts the next one at once."""
        self._restart_requested.set()
        self.worker.wake(at_once=True)
        self._terminate()

    def kill(self, pid: int) -> None:
        """End Xray with SIGKILL if it is this process; the supervisor starts the next one."""
        child = self._child
        if child is not None and child.pid == pid:
            child.kill()

    @property
    def restarts(self) -> int:
        """Return how often Xray was started again, failed starts included."""
        return max(self._starts - 1, 0)

    @property
    def pid(self) -> int | None:
        """Return the process id of the running Xray; None when there is none."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    @property
    def is_bare(self) -> bool:
        """Return whether Xray was started without the operator's sections."""
        return self._is_bare

    def last_words(self) -> str:
        """Return the last 50 lines of Xray's output, for an operator."""
        return "\n".join(self._last_lines)

    def _run_until_exit(self) -> float:
        """Run one Xray to its end; return 0.0, for the next at once. Raises OSError, XrayExited (quick exit)."""
        self._starts += 1
        if self._restart_requested.is_set():
            self._restart_requested.clear()
            self._quick_exits = 0  # who asks for a restart has put right what was wrong
        began = time.monotonic()
        quick_exits, self._quick_exits = (
            self._quick_exits,
            self._quick_exits + 1,
        )  # counted now, in case the start itself raises
        code = self._run_once(began, quick_exits)
        age_s = time.monotonic() - began
        if age_s >= STABLE_AFTER_S:
            self._quick_exits = 0
        if self._restart_requested.is_set() or self.worker.is_stopping:
            return 0.0
        last_line = self._last_lines[-1] if self._last_lines else "none"
        what = f"Xray ended ({code}) after {age_s:.1f} s; last line of its output: {last_line}"
        if age_s < STABLE_AFTER_S:
            raise XrayExited(what)
        _log.warning("%s; it is started again", what)
        return 0.0

    def _run_once(self, began: float, quick_exits: int) -> int:
        try:
            child = self._spawn(quick_exits)
        except OSError as error:
            self._last_lines.append(str(error))
            raise
        self._child = child
        try:
            if self.worker.is_stopping:
                child.kill()
            self._on_up(child.pid)
            self._read_output(child, began)
            return child.wait()
        finally:
            if child.poll() is None:  # an exception above: a second Xray would share its ports (SO_REUSEPORT)
                child.kill()
                child.wait()
            self._child = None
            if child.stdout is not None:
                child.stdout.close()
            self._on_down()

    def _spawn(self, quick_exits: int) -> subprocess.Popen[str]:
        for directory in {socket.parent for socket in self._command.sockets}:
            ensure_run_dir(directory, self._command.memory)  # it may have been removed
        unlink_all(self._command.sockets)
        chosen = self._command.config(quick_exits)
        self._is_bare = chosen.is_bare
        return spawn(self._command.binary, chosen.path, self._command.environment)

    def _read_output(self, child: subprocess.Popen[str], began: float) -> None:
        """Keep the last lines of output until it ends; record a success after ten seconds."""
        if child.stdout is None:
            return
        said = select.poll()
        said.register(child.stdout, select.POLLIN)
        rest, is_unproven = b"", True
        while True:
            left_s = began + STABLE_AFTER_S - time.monotonic()
            if is_unproven and left_s <= 0:
                is_unproven = False
                self.worker.note_success()
            if not said.poll(left_s * 1000 + 1 if is_unproven else None):
                continue
            chunk = os.read(child.stdout.fileno(), _LONGEST_LINE)
            if not chunk:
                break
            *lines, rest = (rest[-_LONGEST_LINE:] + chunk).split(b"\n")
            self._last_lines.extend(line.decode(errors="replace").rstrip() for line in lines)
        if rest:
            self._last_lines.append(rest.decode(errors="replace").rstrip())

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
    """Remove the sockets of a killed Xray and their lock files, with which the next one would not start."""
    for socket in sockets:
        socket.unlink(missing_ok=True)
        socket.with_name(socket.name + ".lock").unlink(missing_ok=True)
