"""A newcomer's machine: a minimal system with systemd and Python, nothing else, and this source tree."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.support.binaries import xray_binary
from tests.support.guest import Guest
from tests.support.process import REPOSITORY

TREE = "/srv/vpnkeys"

_QUICK_START = re.compile(r"^## Start$.*?^```sh\n(?P<commands>.*?)^```$", re.MULTILINE | re.DOTALL)
_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "data", "node_modules")


def quick_start(readme: Path) -> list[str]:
    """The commands of a README's quick start, line by line."""
    found = _QUICK_START.search(readme.read_text())
    assert found is not None, f"{readme.name} has no section Start with commands"
    return found["commands"].splitlines()


def furnish(guest: Guest) -> None:
    """Give a booted guest the tree, and what comes from the internet elsewhere: packages, and Xray, on the PATH."""
    shutil.copytree(REPOSITORY, guest.root / TREE[1:], ignore=_LEFT_OUT, symlinks=True)
    (guest.root / "etc/pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    shutil.copy(xray_binary(), guest.root / "usr/local/bin/xray")
