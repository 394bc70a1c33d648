"""Child processes of the tests: output kept, readiness proven, never left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.support import procfs
from tests.support.ports import (
    NoFreePortError,
    first_free_port,
    free_port,
    is_free,
    release_range,
    reserve_range,
)
from tests.support.started import Started

__all__ = [
    "PATIENCE_S",
    "REPOSITORY",
    "ChildProcess",
    "ModuleServer",
    "NoFreePortError",
    "ProcessError",
    "announce_ready",
    "first_free_port",
    "free_port",
    "is_free",
    "release_range",
    "reserve_range",
    "wait_listening",
    "wait_until",
]

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0
"""How long to wait for what has to come, on the slowest machine; where all is well, nothing waits as long."""

# A condition is looked at often at first, for what comes at once, and then as seldom as costs a twentieth of the wait,
# but not so seldom that what lasts for a moment is missed. Looking takes the processor from what is waited for.
_POLL_S = 0.01
_LONGEST_POLL_S = 0.05
_POLLS_IN_A_WAIT = 20
_TAIL_LINES = 40

# The kernel sends the death signal when the *thread* that started the child ends, not the process.
# So one thread that lives as long as this process starts them all.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class ProcessError(RuntimeError):
    """A child process did not do what it was started for; the text ends with its log."""


def wait_until(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> bool:
    """Poll until the condition holds; whether it did in time."""
    began = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - began
        if waited_s >= timeout_s:
            return False
        time.sleep(min(max(_POLL_S, waited_s / _POLLS_IN_A_WAIT), _LONGEST_POLL_S))
    return True


def wait_listening(
    pid: int, host: str, port: int, timeout: float = PATIENCE_S, protocol: procfs.Protocol = "tcp"
) -> None:
    """Wait until this process, or one below it, and nobody else listens at host:port."""

    def listens_or_died() -> bool:
        if not procfs.is_alive(pid):
            return True
        return procfs.listens_below(pid, host, port, protocol)

    if not wait_until(listens_or_died, timeout):
        raise ProcessError(f"process {pid} does not listen at {host} port {port} after {timeout} s")
    if not procfs.is_alive(pid):
        raise ProcessError(f"process {pid} ended before it listened at {host} port {port}")


def _dying_with_us(argv: Sequence[str]) -> list[str]:
    """The command, so run that the kernel kills it when this process dies in whatever way."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ProcessError("setpriv (util-linux) is needed to run the end-to-end tests")
    # setpriv executes the command in its own place: the pid stays the same.
    return [setpriv, "--pdeathsig", "KILL", "--", *argv]


class ChildProcess:
    """One program, started at once, its output in a file."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        name: str,
        log_path: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start the program; an existing log is continued."""
        self.name = name
        self.log_path = log_path
        with log_path.open("ab") as log:

            def start() -> subprocess.Popen[bytes]:
                return subprocess.Popen(
                    _dying_with_us(argv),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(env) if env is not None else None,
                    cwd=cwd,
                    start_new_session=True,  # Ctrl-C is for pytest alone, which then stops us in order
                )

            self._popen = _spawner.submit(start).result()

    @property
    def pid(self) -> int:
        """Process id; stays readable after the end."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal, None while it runs."""
        return self._popen.poll()

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._popen.poll() is None

    def log(self) -> str:
        """Everything the program has printed."""
        return self.log_path.read_text(errors="replace")

    def error(self, what: str) -> ProcessError:
        """An exception that tells what happened, the exit code and the end of the log."""
        state = "running" if self.running else f"ended with {self.returncode}"
        tail = "\n".join(self.log().splitlines()[-_TAIL_LINES:]) or "(nothing printed)"
        return ProcessError(f"{self.name} (pid {self.pid}, {state}): {what}\n--- log ---\n{tail}")

    def wait_listening(
        self, host: str, port: int, timeout: float = PATIENCE_S, protocol: procfs.Protocol = "tcp"
    ) -> None:
        """Wait until this very process listens at host:port."""
        try:
            wait_listening(self.pid, host, port, timeout, protocol)
        except ProcessError as error:
            raise self.error(str(error)) from None

    def wait_for(self, condition: Callable[[], bool], what: str, timeout: float = PATIENCE_S) -> None:
        """Wait until the condition holds; an error when the program ends or the time is over."""
        held = False

        def over() -> bool:
            nonlocal held
            held = condition()
            return held or not self.running

        wait_until(over, timeout)
        if not held:
            raise self.error(f"still no {what} (waited up to {timeout} s)")

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """End the process at once, as a crash would, and reap it."""
        self._popen.kill()
        self._popen.wait()

    def wait(self, timeout: float) -> int:
        """Wait for the end; the exit code."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self.error(f"did not end within {timeout} s") from None

    def stop(self, timeout: float = 20.0) -> int:
        """Ask the process to end, kill it when it does not; the exit code."""
        if self.running:
            self._popen.terminate()
            try:
                self._popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._popen.wait()


def announce_ready(listener: socket.socket) -> None:
    """What the module of a `ModuleServer` calls as soon as it listens."""
    sys.stdout.write("ready " + json.dumps({"port": listener.getsockname()[1]}) + "\n")
    sys.stdout.flush()


class ModuleServer(Started):
    """A helper server of this package in its own process, apart from the tests' interpreter lock.

    The module is run with its options as one JSON argument. It says by `announce_ready` that it
    listens; that it is the one who listens is checked by its pid.
    """

    def __init__(self, module: str, options: Mapping[str, object]) -> None:
        """Note what to run; `start` or entering the context runs it."""
        self.directory = Path(tempfile.mkdtemp(prefix="vpnkeys-test-"))
        self._module = module
        self._options = dict(options)
        self._child: ChildProcess | None = None

    def start(self) -> None:
        """Run the server; after a `stop` it comes back on the same port."""
        log_path = self.directory / "log"
        log_path.touch()
        already = len(self._ready_lines(log_path))
        child = ChildProcess(
            [sys.executable, "-m", self._module, json.dumps(self._options)],
            name=self._module,
            log_path=log_path,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            cwd=REPOSITORY,
        )
        self._child = child
        child.wait_for(lambda: len(self._ready_lines(log_path)) > already, "sign of being ready")
        self._options["port"] = json.loads(self._ready_lines(log_path)[-1])["port"]
        child.wait_listening(self.host, self.port)

    @staticmethod
    def _ready_lines(log_path: Path) -> list[str]:
        """The JSON texts of the complete ready lines in the log, one for every start."""
        lines = log_path.read_text(errors="replace").splitlines(keepends=True)
        return [line[6:] for line in lines if line.startswith("ready ") and line.endswith("\n")]

    @property
    def child(self) -> ChildProcess:
        """The running process."""
        if self._child is None:
            raise ProcessError(f"{self._module} is not started")
        return self._child

    @property
    def host(self) -> str:
        """Address the server listens on."""
        return str(self._options["host"])

    @property
    def port(self) -> int:
        """Port the server listens on."""
        port: Any = self._options["port"]
        return int(port)

    def log(self) -> str:
        """Everything the server has printed."""
        return self.child.log()

    def stop(self) -> None:
        """End the server; its port is kept in mind for the next `start`."""
        self.child.stop()

    def close(self) -> None:
        """End the server and remove its files."""
        if self._child is not None:
            self._child.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
