"""Makes `run/` in the data directory, for Unix sockets and for what only the present run needs.

Xray cannot start without a socket, and none can be made on a read-only disk. So `run/` is a link to a directory in
memory where this process may have one: then Xray starts also on a disk that lets nobody write.
"""

import hashlib
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

API_SOCKET, ADMIN_SOCKET = "api.sock", "admin.sock"


def run_dir(data_dir: Path) -> Path:
    """Return `run/` of a data directory."""
    return data_dir / "run"


def memory_dir(environment: Mapping[str, str]) -> Path | None:
    """Return where this process may have a directory in memory: systemd's (RuntimeDirectory=), else root's; or None."""
    given = environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    return Path("/run/vpnkeys-root") if os.geteuid() == 0 else None


def ensure_run_dir(run: Path, memory: Path | None) -> None:
    """Make `run` a link to its own directory below `memory`, or a directory where there is no such place.

    While a socket in it answers, it stays what it is. Raises OSError when there is no such directory in the end.
    """
    own_name = hashlib.sha256(os.fsencode(run)).hexdigest()[:12]
    # A data directory that was copied has the link of the one that it was copied from, whose sockets are not its own.
    is_copied = run.is_symlink() and run.readlink().name != own_name
    if not is_copied and any(is_listening(run / name) for name in (API_SOCKET, ADMIN_SOCKET)):
        return
    try:
        if memory is None or not _link(run, memory / own_name):
            _make_plain(run)
    except OSError:
        if not run.is_dir():
            raise


def is_listening(path: Path) -> bool:
    """Return whether a process listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(1.0)
        try:
            peer.connect(os.fspath(path))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        except OSError:
            return True  # as a full backlog or no permission: a process listens there
    return True


def _link(run: Path, target: Path) -> bool:
    """Make a link to `target`, which is made; return whether it could be made."""
    try:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        target.mkdir(mode=0o700, exist_ok=True)
        target.chmod(0o700)  # it is ours, or this raises
    except OSError:
        return False
    if run.is_symlink() and run.readlink() == target:
        return True
    _set_aside(run)
    run.symlink_to(target)
    return True


def _make_plain(run: Path) -> None:
    if run.is_symlink():
        run.unlink()
    run.mkdir(mode=0o700, exist_ok=True)


def _set_aside(run: Path) -> None:
    """Remove a link or a directory of sockets that nobody uses."""
    if run.is_symlink():
        run.unlink()
    elif run.exists():
        aside = run.with_name(f".{run.name}.old")
        shutil.rmtree(aside, ignore_errors=True)
        run.rename(aside)  # at once, as another process may do the same now
        shutil.rmtree(aside, ignore_errors=True)
