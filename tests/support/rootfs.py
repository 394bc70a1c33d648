"""What a guest is made of, kept between runs: a small system by debootstrap, and the wheels that it installs.

`python -m tests.support.rootfs` makes both, which takes minutes the first time; `./test` does so.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.binaries import cache
from tests.support.process import REPOSITORY

PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "python3-venv", "nftables", "iproute2", "procps")
_NEEDED = ("debootstrap", "systemd-nspawn", "nsenter", "apt-get")


class NoGuestError(RuntimeError):
    """This machine cannot have a guest; the text says why."""


def prepared() -> tuple[Path, Path]:
    """(the system, the wheels), made where they are missing."""
    if os.geteuid() != 0:
        raise NoGuestError("a guest needs root")
    missing = [name for name in _NEEDED if shutil.which(name, path=_path()) is None]
    if missing:
        raise NoGuestError(f"a guest needs {', '.join(missing)}: run ./test, which installs them")
    system = _system()
    return system, wheels_for(python_of(system))


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _named(prefix: str, content: str) -> Path:
    return cache() / f"{prefix}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _run(*command: str | Path) -> str:
    environment = {**os.environ, "PATH": _path(), "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise NoGuestError(f"{command[0]} failed: {(done.stdout + done.stderr).strip()[-500:]}")
    return done.stdout


def _system() -> Path:
    """A system of the same distribution as this machine's, from wherever this machine has its packages."""
    sources = _run(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"
    )
    if not sources.strip():
        raise NoGuestError("apt knows no packages; run apt-get update")
    mirror, suite, component = sources.splitlines()[0].split()
    place = _named(f"rootfs-{suite}", " ".join(PACKAGES))
    if not place.is_dir():
        fresh = place.with_name(f"{place.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.parent.mkdir(parents=True, exist_ok=True)
        include = f"--include={','.join(PACKAGES)}"
        _run("debootstrap", "--variant=minbase", f"--components={component}", include, suite, fresh, mirror)
        shutil.rmtree(fresh / "var/cache/apt", ignore_errors=True)
        fresh.replace(place)
    return place


def python_of(system: Path) -> str:
    """The version of a system's Python, such as 3.11."""
    return max((system / "usr/bin").glob("python3.*[0-9]")).name.removeprefix("python")


def wheels_for(python: str, requirements: Path = REPOSITORY / "requirements.txt") -> Path:
    """Every wheel of a requirements.txt, for a Python such as 3.11. Raises NoGuestError."""
    place = _named(f"wheels-{python}", requirements.read_text())
    if not place.is_dir():
        fresh = place.with_name(f"{place.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--dest", fresh)
        _run(*pip, "--python-version", python, "--only-binary=:all:", "--require-hashes", "-r", requirements)
        fresh.replace(place)
    return place


if __name__ == "__main__":
    try:
        sys.stdout.write("".join(f"{path}\n" for path in prepared()))
    except NoGuestError as error:
        sys.exit(f"no guest: {error}")
