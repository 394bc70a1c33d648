"""A machine of the tests' own: a small system booted by its own systemd, with a network that is its loopback alone.

Commands run inside it. The tests' own programs (targets, clients, far ends) run outside, but in its network: `attached`
puts the calling thread, and whatever the tests start, there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support import process
from tests.support.process import ChildProcess, wait_until
from tests.support.room import _enter, _here
from tests.support.rootfs import NoGuestError, prepared, python_of
from tests.support.started import Started

_BOOT_S = 300.0
_PLENTY_KB = 4 << 20
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Guest(Started):
    """The machine; entering the context boots it. `wheels` are for its `python`, and /wheels inside."""

    def __init__(self) -> None:
        """Make it of the kept system. Raises NoGuestError where that cannot be."""
        system, self.wheels = prepared()
        self.python = python_of(system)
        self._directory = Path(tempfile.mkdtemp(prefix="vpnkeys-guest-"))
        self.root = self._directory / "root"
        self._lay_over(system)
        (self.root / "etc/machine-id").write_text("uninitialized\n")
        # There is no network to wait for, which it would do for two minutes.
        (self.root / "etc/systemd/system/systemd-networkd-wait-online.service").symlink_to("/dev/null")
        self._nspawn: ChildProcess | None = None

    def _lay_over(self, system: Path) -> None:
        """What the guest writes lies over the kept system; where the kernel cannot do that, all of it is copied.

        It lies in memory where there is plenty: a disk's writes of thousands of files take longer than the tests.
        """
        if _memory_available_kb() >= _PLENTY_KB:
            memory = ["mount", "-t", "tmpfs", "-o", "mode=700", "vpnkeys-guest", str(self._directory)]
            subprocess.run(memory, capture_output=True, check=False)
        upper, work = self._directory / "upper", self._directory / "work"
        for directory in (self.root, upper, work):
            directory.mkdir()
        layers = f"lowerdir={system},upperdir={upper},workdir={work}"
        mount = ["mount", "-t", "overlay", "overlay", "-o", layers, str(self.root)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            subprocess.run(["cp", "-a", "--reflink=auto", f"{system}/.", self.root], check=True)

    def start(self) -> None:
        """Boot, and wait until systemd says that it is up."""
        command = ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot", "--register=no", "--keep-unit"]
        command += ["--private-network", f"--bind-ro={self.wheels}:/wheels", "--console=pipe", "--link-journal=no"]
        self._nspawn = ChildProcess(
            command,
            name="guest",
            log_path=self._directory / "log",
            env={"PATH": _PATH, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "0"},
        )
        if not wait_until(lambda: self._is_up() or not self._running.running, _BOOT_S) or not self._running.running:
            raise NoGuestError(str(self._running.error("the guest does not boot")))

    @property
    def _running(self) -> ChildProcess:
        if self._nspawn is None:
            raise NoGuestError("the guest is not booted")
        return self._nspawn

    @property
    def init(self) -> int:
        """The process id, out here, of its first process."""
        children = Path(f"/proc/{self._running.pid}/task/{self._running.pid}/children").read_text().split()
        return int(children[0])

    def _is_up(self) -> bool:
        try:
            return self.run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}
        except (OSError, IndexError):
            return False

    def run(self, *command: str, timeout: float = 400.0, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root."""
        return subprocess.run(
            self.command(*command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=self.environment(**env),
        )

    def command(self, *command: str) -> list[str]:
        """What runs a command inside, as root."""
        enter = ("nsenter", "--target", str(self.init), "--mount", "--uts", "--ipc", "--net", "--pid", "--")
        return [*enter, *command]

    @staticmethod
    def environment(**more: str) -> dict[str, str]:
        """The environment of commands inside."""
        return {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", **more}

    def ok(self, *command: str, timeout: float = 400.0, **env: str) -> str:
        """What a command inside prints; its failure is an error."""
        done = self.run(*command, timeout=timeout, **env)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def show(self, unit: str, *properties: str) -> Mapping[str, str]:
        """Properties of a unit, as systemd has them."""
        lines = self.ok("systemctl", "show", unit, f"--property={','.join(properties)}").splitlines()
        return dict(line.partition("=")[::2] for line in lines)

    def main_pid(self, unit: str) -> int:
        """The process id, inside, of a unit's main process; 0 while it has none."""
        return int(self.show(unit, "MainPID")["MainPID"])

    def shut_down(self) -> None:
        """End it in order."""
        with suppress(OSError, IndexError, subprocess.TimeoutExpired):
            self.run("systemctl", "poweroff", timeout=20.0)
        self._running.wait(90.0)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Let the calling thread, and whatever the tests start, live in the guest's network."""
        home = _here()
        there = os.open(f"/proc/{self.init}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
            process._spawner.submit(_enter, there).result()
            yield
        finally:
            _enter(home)
            process._spawner.submit(_enter, home).result()
            os.close(there)
            os.close(home)

    def close(self) -> None:
        """End it, whatever it is doing, and remove it."""
        if self._nspawn is not None and self._nspawn.running:
            with suppress(ProcessLookupError, OSError, IndexError):
                os.kill(self.init, signal.SIGKILL)
            self._nspawn.stop(10.0)
        for mounted in (self.root, self._directory):
            subprocess.run(["umount", "--lazy", mounted], capture_output=True, check=False)
        shutil.rmtree(self._directory, ignore_errors=True)


def _memory_available_kb() -> int:
    """What could be taken without anything being written to swap (proc_meminfo(5))."""
    (line,) = (line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:"))
    return int(line.split()[1])
