"""Xray as somebody else's: kept running by whoever supervises `vpnkeys xray run`, watched here, and left alone."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.worker import Job, Worker
from vpnkeys.xray.host.processes import epoch_of, is_running, start_ticks
from vpnkeys.xray.process.launch import note_in
from vpnkeys.xray.rpc.counters import XrayCounters

_LOOK_EVERY_S = 0.2
_STOP_TIMEOUT_S = 3.0
_ENDED_LOOK_S = 0.01
_JOB = Job(
    name="xray-watcher",
    failing="Xray could not be looked after",
    every_s=_LOOK_EVERY_S,
    back_off_s=(_LOOK_EVERY_S, 1.0, 5.0),
    late_after_s=30.0,  # adopting a running Xray may restart it, and waits until it answers
    stop_within_s=15.0,
)
_PROBES_TAKE_S = 8.0  # five seconds from their handshake on, which begins with Xray


class _Life(NamedTuple):
    """One life of Xray."""

    pid: int
    epoch: str


class XrayUnit:
    """Watches, from `start` to `stop`, whichever Xray listens on the API's socket; its end ends nobody else.

    `on_up(pid)` is called in the watcher's thread when a life is first seen: it answers, and may be old. `on_down()` is
    called when it has ended, by the watcher or by whoever restarts, always before the next `on_up`.
    """

    outlives_us: ClassVar[bool] = True

    def __init__(self, api_socket: Path, on_up: Callable[[int], None], on_down: Callable[[], None]) -> None:
        self._counters = XrayCounters(api_socket)
        self._note = note_in(api_socket.parent)
        self._on_up = on_up
        self._on_down = on_down
        self._lock = threading.Lock()
        self._life: _Life | None = None
        self._has_been_up = False
        self._is_told = False
        self.worker = Worker(_JOB, self._look)
        self.restarts = 0

    def start(self) -> None:
        """Begin watching; returns at once."""
        self.worker.start()

    def stop(self) -> None:
        """End the watching. Xray goes on."""
        self.worker.stop()
        self._counters.close()

    def restart(self) -> None:
        """End the present Xray; its supervisor starts the next one. Raises XrayUnavailable when we may not end it."""
        life = self._life
        if life is None or not is_running(life.epoch):
            life = self._find()
        if life is None:
            return  # the next one is on its way
        self._note.unlink(missing_ok=True)  # asked for: not one more that died young
        _end(life)
        self._note_end(life)

    @property
    def pid(self) -> int | None:
        """The present Xray's process id."""
        life = self._life
        return life.pid if life is not None and is_running(life.epoch) else None

    def last_words(self) -> str:
        """Nothing: what it says goes to its supervisor's log."""
        return ""

    def _look(self) -> None:
        life = self._life
        if life is not None:
            if is_running(life.epoch):
                self._tell(life)
                return
            self._note_end(life)
        found = self._find()
        if found is None:
            return
        with self._lock:
            self._life, self._is_told = found, False
            self.restarts += self._has_been_up
            self._has_been_up = True
        self._tell(found)

    def _tell(self, life: _Life) -> None:
        """Once a life; again when it fails. Not under the lock: it may want to restart."""
        if not self._is_told:
            self._on_up(life.pid)
            self._is_told = True

    def _note_end(self, life: _Life) -> None:
        """Under the lock, so that nobody sees the next life before this one's end was told."""
        with self._lock:
            if self._life == life:
                self._life = None
                self._on_down()

    def _find(self) -> _Life | None:
        """Whoever listens on the API's socket now."""
        try:
            pid = self._counters.pid()
            return _Life(pid, epoch_of(pid))
        except (XrayUnavailable, OSError):
            return None


def _end(life: _Life) -> None:
    """End this very life, and return when it has ended."""
    for number, patience_s in ((signal.SIGTERM, _STOP_TIMEOUT_S), (signal.SIGKILL, _STOP_TIMEOUT_S)):
        if not is_running(life.epoch):
            return
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
        msg = f"Xray (process {pid}) may not be ended: run it and the server as the same user."
        raise XrayUnavailable(msg) from error


def young_pid(counters: XrayCounters) -> int:
    """The running Xray's process id while it may still probe its targets. Raises XrayUnavailable."""
    pid = counters.pid()
    try:
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks(pid) / os.sysconf("SC_CLK_TCK")
    except OSError as error:
        raise XrayUnavailable("Xray has just ended.") from error
    if age_s > _PROBES_TAKE_S:
        raise XrayUnavailable("Xray has probed its targets long ago.")
    return pid
