"""Where the real programs for the tests lie; `./test` puts them there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

XRAY_VERSION = "26.3.27"
SING_BOX_VERSION = "1.12.12"
OLD_SING_BOX_VERSION = "1.11.15"
"""The newest of the oldest versions that a subscription has a form for."""
MIHOMO_VERSION = "1.19.10"
PEBBLE_VERSION = "2.10.3"


class MissingBinaryError(RuntimeError):
    """A program the end-to-end tests need is not there."""


def cache() -> Path:
    """The directory of what all runs and clones share."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vpnkeys"


def _cached(program: str, version: str) -> Path:
    """Place of a program in the cache."""
    return cache() / program / version / program


def _checked(path: Path) -> Path:
    if not os.access(path, os.X_OK):
        raise MissingBinaryError(f"{path} is missing or cannot be run: run ./test, which sets it up")
    return path


def xray_binary() -> Path:
    """Xray: the one named by VPNKEYS_XRAY_BIN, else the cached one."""
    named = os.environ.get("VPNKEYS_XRAY_BIN")
    return _checked(Path(named) if named else _cached("xray", XRAY_VERSION))


def sing_box_binary(version: str = SING_BOX_VERSION) -> Path:
    """sing-box: an implementation of the same protocol by other people."""
    return _checked(_cached("sing-box", version))


def mihomo_path() -> Path:
    """Where mihomo is, if it is there: `python -m tests.support.mihomo` builds it."""
    return _cached("mihomo", MIHOMO_VERSION)


def pebble_binary(name: str) -> Path:
    """Pebble, Let's Encrypt's authority for tests, or the name server that comes with it."""
    return _checked(_cached("pebble", PEBBLE_VERSION).with_name(name))


def nginx_binary() -> Path:
    """nginx: the one on the PATH, else the cached one, of which nothing is installed."""
    named = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    return _checked(Path(named) if named else cache() / "nginx" / "nginx")
