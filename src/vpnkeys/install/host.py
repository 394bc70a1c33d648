"""Programs of this host, run as root or as the server's user, with failures as InstallFailed."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from vpnkeys.domain.errors import Rejected
from vpnkeys.owner import SERVER_USER

Say: TypeAlias = Callable[[str], None]

_TAIL_LINES = 12
_LONG_S = 900.0
"""Installing packages may take minutes on a slow line."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class InstallFailed(Rejected):
    """An installation step failed. The message says what is unchanged and what to do next."""

    code = "install_failed"


def require_systemd_and_root() -> None:
    """Raise InstallFailed where this host has no systemd, or we are not root."""
    if os.geteuid() != 0:
        raise InstallFailed("this needs root: run it again with sudo")
    if not Path("/run/systemd/system").is_dir():
        raise InstallFailed("this host was not started by systemd; run the server in the foreground instead: ./run")
    missing = [name for name in ("systemctl", "useradd") if shutil.which(name, path=_PATH) is None]
    if missing:
        raise InstallFailed(f"this host has no {' and no '.join(missing)}; install it, then try again")


@contextmanager
def one_at_a_time(lock: Path = Path("/run/vpnkeys-install.lock")) -> Iterator[None]:
    """Hold the lock for installations during the block. Raises InstallFailed while another process holds it."""
    # flock, not the file itself, is the lock: the kernel frees it when its process dies.
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InstallFailed("another installation or upgrade is running; try again when it has ended") from error
        yield


def run(*command: str | Path, timeout_s: float = _LONG_S) -> str:
    """Run a program as root and return its standard output. Raises InstallFailed with its last lines.

    Our own settings and Python's are removed from its environment: they are meant for this process.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VPNKEYS_", "PYTHON"))}
    return _output_of(command, timeout_s, environment, None)


def run_as_server(*command: str | Path, data_dir: Path, timeout_s: float = _LONG_S) -> str:
    """Run one of our own programs as the server's user on a data directory and return its standard output.

    Raises InstallFailed.
    """
    environment = {"PATH": _PATH, "HOME": str(data_dir), "LANG": "C.UTF-8", "VPNKEYS_DATA_DIR": str(data_dir)}
    return _output_of(command, timeout_s, environment, SERVER_USER)


def tail(text: str) -> str:
    """Return the last lines of a program's output."""
    return "\n".join(text.strip().splitlines()[-_TAIL_LINES:]) or "(it printed nothing)"


def _output_of(command: tuple[str | Path, ...], timeout_s: float, environment: dict[str, str], user: str | None) -> str:
    name = " ".join(str(part) for part in command[:3])
    try:
        done = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,  # a program that asks a question fails instead of waiting for ever
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            cwd="/",  # the server's user may have no access to the directory of the caller
            env=environment,
            user=user,
            group=user,
            extra_groups=None if user is None else (),  # otherwise root's groups would stay
            umask=0o022 if user is None else 0o077,
        )
    except OSError as error:
        raise InstallFailed(f"{name} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise InstallFailed(f"{name} did not end within {timeout_s:.0f} s") from error
    if done.returncode:
        raise InstallFailed(f"{name} failed ({done.returncode}):\n{tail(done.stdout + done.stderr)}")
    return done.stdout
