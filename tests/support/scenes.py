"""A service to which anything may happen: its disk is small, its names and its time of day are in a test's hand."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.support.disks import small_disk
from tests.support.faults import Scene
from tests.support.room import Names
from tests.support.service import Service
from tests.support.target import RealityTarget

_TARGET_NAME = "target.example"
_DISK_MIB = 32


def why_not() -> str:
    """What this machine lacks for a scene; empty when it has all."""
    if os.geteuid() != 0:
        return "needs root, to mount a small disk"
    missing = [tool for tool in ("unshare", "nsenter", "mount", "cc") if shutil.which(tool) is None]
    return f"needs {missing}" if missing else ""


@contextmanager
def running_scene(directory: Path, target: RealityTarget, egress: Sequence[str]) -> Iterator[Scene]:
    """A service, ready, with a disk, a name server and a clock of its own; its target is known by name."""
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(directory / "data", _DISK_MIB))
        host = f"127.{random.randint(64, 250)}.{random.randint(0, 255)}.{random.randint(1, 254)}"  # noqa: S311
        names = stack.enter_context(closing(Names({_TARGET_NAME: ["127.0.0.1"]}, host)))
        resolv = directory / "resolv.conf"
        resolv.write_text(f"nameserver {host}\n")
        clock = directory / "clock"
        clock.write_text("0\n")
        settings = {"VPNKEYS_REALITY_TARGET": f"{_TARGET_NAME}:{target.port}"}
        service = Service(target, data_dir=disk, egress_allow=egress, settings=settings)
        service.env |= _wrong_by(clock, directory / "clock.so")
        service.python, service.command = "unshare", _asking(resolv)
        stack.enter_context(service)
        service.wait_ready()
        yield Scene(service, target, names, clock)


def _wrong_by(clock: Path, library: Path) -> dict[str, str]:
    """The environment of a program whose time of day is wrong by the seconds in a file."""
    source = Path(__file__).with_name("shifted_clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(clock)}


def _asking(resolv: Path) -> tuple[str, ...]:
    """The service in a mount namespace of its own, where another name server is asked."""
    mount = f'mount --bind {resolv} /etc/resolv.conf && exec "$0" "$@"'
    return ("--mount", "--", "/bin/sh", "-c", mount, sys.executable, "-m", "vpnkeys", "serve")
