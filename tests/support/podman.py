"""Containers of the tests' own: podman with a storage that is made for them and removed with all that is in it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from tests.support.rootfs import NoGuestError, prepared
from tests.support.started import Started

BASE = "localhost/vpnkeys-base"
# What a container may open where this machine's own bounds are low: more than the tests need, less than any host has.
ULIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
_NEEDED = ("podman", "runc", "conmon")
_LONG_S = 900.0


class Podman(Started):
    """Entering the context makes an empty storage; leaving it ends all containers and removes everything."""

    def __init__(self) -> None:
        """Look whether this machine can. Raises NoGuestError with the reason where it cannot."""
        self.system, self.wheels = prepared()
        missing = [name for name in _NEEDED if shutil.which(name) is None]
        if missing:
            raise NoGuestError(f"containers need {', '.join(missing)}: run ./test --soak, which installs them")
        self.directory = Path(tempfile.mkdtemp(prefix="vpnkeys-podman-"))

    def start(self) -> None:
        """Make the base, and try to run a program: kernels and sandboxes differ in what they let a container do."""
        with subprocess.Popen(["tar", "--create", "--directory", self.system, "."], stdout=subprocess.PIPE) as tar:
            imported = self.run("import", "-", BASE, stdin=tar.stdout)
        for done in (imported, self.run("run", "--rm", "--network", "host", *ULIMITS, BASE, "true")):
            if done.returncode:
                raise NoGuestError(f"podman runs no container here: {done.stderr.strip()[-300:]}")

    def run(self, *command: str | Path, stdin: IO[bytes] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of podman."""
        places = ("--root", self.directory / "storage", "--runroot", self.directory / "run")
        return subprocess.run(
            ["podman", *places, "--runtime", "runc", "--cgroup-manager", "cgroupfs", *command],
            stdin=stdin or subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LONG_S,
            check=False,
        )

    def ok(self, *command: str | Path) -> str:
        """What a command of podman prints; its failure is an error."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def close(self) -> None:
        """End and remove everything."""
        self.run("rm", "--all", "--force", "--time", "5")
        self.run("unmount", "--all", "--force")
        subprocess.run(["umount", self.directory / "storage" / "overlay"], capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


def pip_without_network(directory: Path) -> Path:
    """A pip.conf by which packages come from /wheels alone."""
    file = directory / "pip.conf"
    file.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    file.chmod(0o644)
    return file
