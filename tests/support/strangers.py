"""Other users of this host: one who is nobody, and one that an installed server has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from vpnkeys.owner import SERVER_USER

NOBODY, SERVER = 65534, 65533
_TOOLS = ("unshare", "mount", "setpriv")

needs_users = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, _TOOLS)), reason="needs root, to become other users"
)


@contextmanager
def open_room() -> Iterator[Path]:
    """A directory in which every user may do anything, as on a host where it was not thought about."""
    # Not pytest's own, which other users cannot reach.
    with tempfile.TemporaryDirectory(prefix="vpnkeys-room-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


def give(directory: Path, uid: int) -> None:
    """Make a user the owner of a directory and of all in it, links too."""
    for path in (directory, *directory.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)


def command(room: Path, *arguments: str) -> list[str]:
    """The command that runs `vpnkeys` as root on a host that has the user of an installed server."""
    users = room / "passwd"
    line = f"{SERVER_USER}:x:{SERVER}:{SERVER}::{room}:/usr/sbin/nologin\n"
    users.write_text(Path("/etc/passwd").read_text(encoding="utf-8") + line, encoding="utf-8")
    script = 'mount --bind "$0" /etc/passwd && exec "$@"'
    program = shutil.which("vpnkeys")
    assert program is not None
    return ["unshare", "--mount", "sh", "-c", script, str(users), program, *arguments]


def run_as_root(
    room: Path, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """What such a command says, in the room unless told otherwise."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("VPNKEYS_")}
    return subprocess.run(
        command(room, *arguments),
        env={**own, **(env or {})},
        cwd=cwd or room,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def is_python_readable() -> bool:
    """Whether the server's user can run this Python, and no other one in its place; not from a closed /root."""
    same = f"import sys, vpnkeys; sys.exit(sys.base_prefix != {sys.base_prefix!r})"
    return subprocess.run(as_user(SERVER, sys.executable, "-c", same), capture_output=True, check=False).returncode == 0


def require_readable_python() -> None:
    """Skip the test where this Python is in a directory that is closed to other users, such as /root."""
    if not is_python_readable():
        pytest.skip("the server's user cannot run this Python")


def as_user(uid: int, *program: str) -> Sequence[str]:
    """The command that runs a program as another user."""
    return ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", *program]
