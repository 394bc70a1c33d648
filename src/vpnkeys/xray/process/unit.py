"""Watches an Xray that runs as a unit of its own: systemd or another supervisor runs `vpnkeys xray run`."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, NamedTuple

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.worker import Job, Worker
from vpnkeys.xray.host.processes import epoch_of, is_running, start_ticks
from vpnkeys.xray.process.launch import last_start, record_path
from vpnkeys.xray.rpc.counters import XrayCounters

_LOOK_EVERY_S = 0.2
_STOP_TIMEOUT_S = 3.0
_ENDED_LOOK_S = 0.01
_JOB = Job(
    name="xray-watcher",
    failing="Xray could not be watched",
    every_s=_LOOK_EVERY_S,
    back_off_s=(_LOOK_EVERY_S, 1.0, 5.0),
    late_after_s=30.0,  # adopting a running Xray may restart it, and waits until it answers
    stop_within_s=15.0,
)
_PROBES_TAKE_S = 8.0  # five seconds after their handshake, which begins at Xray's start


class _ProcessLife(NamedTuple):
    """One process life of Xray."""

    pid: int
    epoch: str


class XrayUnit:
    """Watches, from `start` to `stop`, the Xray that listens on the API's socket; Xray outlives the watcher.

    The watcher's thread calls `on_up(pid)` when it first sees a process: it listens on the API's socket, and may have
    run for long. `on_down()` is called when that has ended, by the watcher or by the thread that restarts, always
    before the next `on_up`.
    """

    outlives_us: ClassVar[bool] = True

    def __init__(self, api_socket: Path, on_up: Callable[[int], None], on_down: Callable[[], None]) -> None:
        self._counters = XrayCounters(api_socket)
        self._record = record_path(api_socket.parent)
        self._on_up = on_up
        self._on_down = on_down
        self._lock = threading.Lock()
        self._life: _ProcessLife | None = None
        self._has_been_up = False
        self._is_reported = False
        self.worker = Worker(_JOB, self._look)
        self.restarts = 0

    def start(self) -> None:
        """Start watching; return at once."""
        self.worker.start()

    def stop(self) -> None:
        """Stop watching; Xray goes on."""
        self.worker.stop()
        self._counters.close()

    def restart(self) -> None:
        """End Xray; its supervisor starts the next one. Raises XrayUnavailable without the right to signal it."""
        life = self._life
        if life is None or not is_running(life.epoch):
            life = self._find()
        if life is None:
            return  # there is none, and its supervisor is about to start one
        with suppress(OSError):  # a read-only disk refuses to remove even what is not there
            self._record.unlink()  # a restart on request is no quick exit
        _end(life)
        self._note_end(life)

    def kill(self, pid: int) -> None:
        """End Xray with SIGKILL if it is this process; its supervisor starts the next one.

        Raises XrayUnavailable when we may not end it.
        """
        life = self._life
        if life is not None and life.pid == pid and is_running(life.epoch):
            _send(pid, signal.SIGKILL)

    @property
    def pid(self) -> int | None:
        """Return the process id of the running Xray; None when there is none."""
        life = self._life
        return life.pid if life is not None and is_running(life.epoch) else None

    @property
    def is_bare(self) -> bool:
        """Return whether Xray was started without the operator's sections."""
        start = last_start(self._record.parent)
        return start is not None and start.is_bare

    def last_words(self) -> str:
        """Return "": Xray's output goes to its supervisor's log."""
        return ""

    def _look(self) -> None:
        life = self._life
        if life is not None:
            if is_running(life.epoch):
                self._report_up(life)
                return
            self._note_end(life)
        found = self._find()
        if found is None:
            return
        with self._lock:
            self._life, self._is_reported = found, False
            self.restarts += self._has_been_up
            self._has_been_up = True
        self._report_up(found)

    def _report_up(self, life: _ProcessLife) -> None:
        """Call `on_up` once for each process, again after it failed. Without the lock: `on_up` may call `restart`."""
        if not self._is_reported:
            self._on_up(life.pid)
            self._is_reported = True

    def _note_end(self, life: _ProcessLife) -> None:
        """Call `on_down` once, under the lock, so that the next process is not seen before."""
        with self._lock:
            if self._life == life:
                self._life = None
                self._on_down()

    def _find(self) -> _ProcessLife | None:
        """Return the process that listens on the API's socket now; None when there is none."""
        try:
            pid = self._counters.pid()
            return _ProcessLife(pid, epoch_of(pid))
        except (XrayUnavailable, OSError):
            return None


def _end(life: _ProcessLife) -> None:
    """End this process with SIGTERM, after three seconds SIGKILL; return when it has ended."""
    for number, patience_s in ((signal.SIGTERM, _STOP_TIMEOUT_S), (signal.SIGKILL, _STOP_TIMEOUT_S)):
        if not is_running(life.epoch):
            return  # by epoch: its pid may belong to another process by now
        _send(life.pid, number)
        deadline = time.monotonic() + patience_s
        while is_running(life.epoch) and time.monotonic() < deadline:
            time.sleep(_ENDED_LOOK_S)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError as error:
        msg = f"Xray (process {pid}) cannot be ended without permission: run it and the server as the same user."
        raise XrayUnavailable(msg) from error


def probing_pid(counters: XrayCounters) -> int:
    """Return the id of an Xray that started up to eight seconds ago, and may still probe. Raises XrayUnavailable."""
    pid = counters.pid()
    try:
        # CLOCK_BOOTTIME, because start times in /proc count suspend too (proc(5)).
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks(pid) / os.sysconf("SC_CLK_TCK")
    except OSError as error:
        raise XrayUnavailable("Xray has just ended; try again shortly.") from error
    if age_s > _PROBES_TAKE_S:
        raise XrayUnavailable("Xray has probed its targets long ago.")
    return pid
