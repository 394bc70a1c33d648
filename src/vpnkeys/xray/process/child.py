"""Xray as our child: started, watched, brought back, and never left behind."""

import logging
import os
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

_log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_BACK_OFF_S = (0.0, 0.2, 0.5, 1.0, 1.5)
"""Waits before the next start, by how often in a row Xray ended young; the last one for ever: back within 2 s."""

GROWN_UP_S = 10.0
_STOP_TIMEOUT_S = 3.0
_KEPT_LINES = 50


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


# Run by a Python of its own, which becomes Xray. The prctl cannot be done in a `preexec_fn`: that would be a plain fork
# of a process with gRPC's threads, whose fork handlers abort some of the children (3 of 80, measured).
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
        self._stopping = threading.Event()
        self._asked_for = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="xray-supervisor", daemon=True)
        self._tail: deque[str] = deque(maxlen=_KEPT_LINES)
        self.restarts = 0

    def start(self) -> None:
        """Begin supervising; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End Xray for good and wait for it."""
        self._stopping.set()
        self._asked_for.set()  # wakes a supervisor that waits for its next try
        self._terminate()
        if self._thread.is_alive():
            self._thread.join()

    def restart(self) -> None:
        """End the present Xray; the supervisor starts the next one without a wait."""
        self._asked_for.set()
        self._terminate()

    @property
    def pid(self) -> int | None:
        """The present Xray's process id."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def last_words(self) -> str:
        """What Xray said last, for an operator who wonders why it does not start."""
        return "\n".join(self._tail)

    def _supervise(self) -> None:
        quick_exits = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            code = self._run_once(quick_exits)
            if self._stopping.is_set():
                return
            self.restarts += 1
            if self._asked_for.is_set():
                self._asked_for.clear()
                continue
            age_s = time.monotonic() - began
            quick_exits = 0 if age_s >= GROWN_UP_S else quick_exits + 1
            wait_s = _BACK_OFF_S[min(quick_exits, len(_BACK_OFF_S) - 1)]
            last = self._tail[-1] if self._tail else "none"
            _log.warning(
                "Xray ended (%s) after %.1f s; next start in %.1f s; last words: %s", code, age_s, wait_s, last
            )
            self._asked_for.wait(wait_s)
            self._asked_for.clear()

    def _run_once(self, quick_exits: int) -> int | str:
        """One life of Xray, from its start to its end."""
        unlink_all(self._command.sockets)
        try:
            child = spawn(self._command.binary, self._command.config(quick_exits), self._command.environment)
        except OSError as error:
            self._tail.append(str(error))
            return f"could not be started: {error.strerror}"
        self._child = child
        try:
            if self._stopping.is_set():
                child.kill()
            self._on_up(child.pid)
            for line in child.stdout or ():
                self._tail.append(line.rstrip())
            return child.wait()
        finally:
            self._child = None
            if child.stdout is not None:
                child.stdout.close()
            self._on_down()

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


def start_ticks(pid: int) -> int:
    """When a process began, in clock ticks since boot: with its pid it names one process life. Raises OSError.

    Field 22 of /proc/PID/stat (proc(5)); the second field may contain anything, so count from behind its bracket.
    """
    return int(_stat_from_state_on(pid)[19])


def is_running(epoch: str) -> bool:
    """Whether this process life goes on; one that ended and waits to be reaped does not."""
    pid = int(epoch.split("-")[1])
    try:
        return epoch_of(pid) == epoch and _stat_from_state_on(pid)[0] not in {"Z", "X"}
    except OSError:
        return False


def _stat_from_state_on(pid: int) -> list[str]:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return stat.rpartition(")")[2].split()


def epoch_of(pid: int) -> str:
    """The name of this one process life, also across reboots. Raises OSError when there is no such process."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    return f"{boot}-{pid}-{start_ticks(pid)}"
