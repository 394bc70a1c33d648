"""Where the real programs for the tests lie; `./test` puts them there."""

from __future__ import annotations

import os
from pathlib import Path

XRAY_VERSION = "26.3.27"
SING_BOX_VERSION = "1.12.12"


class MissingBinaryError(RuntimeError):
    """A program the end-to-end tests need is not there."""


def _cached(program: str, version: str) -> Path:
    """Place of a program in the cache that is shared by all runs."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "vpnkeys" / program / version / program


def _checked(path: Path) -> Path:
    if not os.access(path, os.X_OK):
        raise MissingBinaryError(f"{path} is missing or cannot be run: run ./test, which sets it up")
    return path


def xray_binary() -> Path:
    """Xray: the one named by VPNKEYS_XRAY_BIN, else the cached one."""
    named = os.environ.get("VPNKEYS_XRAY_BIN")
    return _checked(Path(named) if named else _cached("xray", XRAY_VERSION))


def sing_box_binary() -> Path:
    """sing-box: an implementation of the same protocol by other people."""
    return _checked(_cached("sing-box", SING_BOX_VERSION))
