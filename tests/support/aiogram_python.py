"""aiogram, for the example of a bot: in an environment of its own, as it wants an older pydantic than the server.

Run it (`python -m tests.support.aiogram_python`) to make that environment in the cache, unless it is there.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from tests.support.binaries import cache
from tests.support.process import REPOSITORY

_VERSION = "3.31.0"
_ENVIRONMENT = cache() / "aiogram" / f"{_VERSION}-python{sys.version_info.major}.{sys.version_info.minor}"
PYTHON = _ENVIRONMENT / "bin" / "python"
_MADE = _ENVIRONMENT / "made"


def is_here() -> bool:
    """Whether a program that needs aiogram can be run."""
    return _MADE.exists()


def client_alone(directory: Path) -> Path:
    """Return a directory of Python's path with the client of vpnkeys and nothing of its server."""
    package = directory / "client" / "vpnkeys"
    package.mkdir(parents=True)
    for room in ("client", "wire"):  # those of client/hatch_build.py
        (package / room).symlink_to(REPOSITORY / "src" / "vpnkeys" / room)
    return package.parent


def main() -> int:
    """Make the environment: aiogram, and what the client of vpnkeys needs."""
    if not is_here():
        venv.create(_ENVIRONMENT, clear=True, with_pip=True)
        install = (str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        subprocess.run([*install, f"aiogram=={_VERSION}", "httpx"], check=True)
        _MADE.touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
