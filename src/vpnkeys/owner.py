"""Whose a data directory is. Nothing in it is believed before `require_ours`, and root acts in it as its owner.

A directory names programs that are started, and its sockets take orders. So it has to be ours or root's, with no way in
for other users. Then all in it, links too, was put there by us or by root. Only the directory of the server's own user
is less than root: root acts there with that user's rights alone, so that no link leads further than that user's own
access.
"""

import os
import pwd
import shutil
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISLNK, S_ISREG, S_IWGRP, S_IWOTH
from typing import NoReturn

SERVER_USER = "vpnkeys"
"""The system user and group of an installed server."""

_ROOT = 0
_OPEN_TO_OTHERS = 0o011
_PEER_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid
_SERVICE_CAPABILITIES = {"net_bind_service": 1 << 10, "net_admin": 1 << 12}  # those of the units; capability.h


class NotOurs(Exception):
    """A directory, file or socket is another user's, or other users can change it. The text says what to do."""


def require_ours(directory: Path) -> None:
    """Raise NotOurs unless a data directory is ours or root's, and no other user can put files there.

    A directory that does not exist, and an empty one, which will be closed to others, are fine.
    """
    try:
        link, state = directory.lstat(), directory.stat()
    except FileNotFoundError:
        return
    for owner in {link.st_uid if S_ISLNK(link.st_mode) else state.st_uid, state.st_uid}:
        _require_owner(owner, directory)
    if _others_can_write(state) and any(directory.iterdir()):
        msg = (
            f"other users can put files into {directory}, so nothing there is used: look through it, then "
            f"chmod go-w {directory}"
        )
        raise NotOurs(msg)


def read_ours(file: Path) -> str:
    """Return the text of a file in a directory that is ours; "" where there is none. Raises NotOurs, OSError."""
    try:
        # Without waiting: another user could have put a pipe here that nobody writes to.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as opened:
        state = os.fstat(descriptor)
        _require_owner(state.st_uid, file)
        is_reachable = file.parent.stat().st_mode & _OPEN_TO_OTHERS
        if not S_ISREG(state.st_mode) or (is_reachable and _others_can_write(state)):
            raise NotOurs(f"{file} is not used: it is no file, or other users can write to it; chmod go-w {file}")
        return opened.read()


def listener_pid(path: Path, timeout_s: float) -> int:
    """Return the pid of the process that listens on a Unix socket.

    Raises OSError when none answers in time, and NotOurs when it is another user's: neither ours nor root's. Root asks
    the server's user too, and nobody else where that user could put a link to another socket.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        # A stopped process takes no connection off its queue; when that is full, connecting would wait for ever.
        peer.settimeout(timeout_s)
        peer.connect(os.fspath(path))
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    pid, uid, _ = _PEER_CREDENTIALS.unpack(credentials)
    server = _server_user()
    if server is None or uid != server.pw_uid or not _is_below(path, uid):
        _require_owner(uid, path, is_root_trusted=server is None or not _is_below(path, server.pw_uid))
    return int(pid)


@contextmanager
def as_owner(path: Path) -> Iterator[None]:
    """Act with the rights of the server's user for the block, where root works on something of that user's.

    No program may be started in the block: it could become root again. Raises PermissionError where that user
    cannot read this Python.
    """
    user = _server_user()
    if user is None or not _is_below(path, user.pw_uid):
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups(())
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    except ImportError as error:
        # Modules that are loaded late, from a directory such as root's own, which is closed to the server's user.
        msg = f"the server's user cannot read this Python ({sys.prefix}): use the installed vpnkeys"
        raise PermissionError(msg) from error
    finally:
        os.seteuid(_ROOT)
        os.setegid(group)
        os.setgroups(groups)


def leave_root(data_dir: Path) -> None:
    """Start this command again as the server's user, for good, where root works on that user's data directory.

    It keeps the capabilities that the services have. Raises NotOurs where that is not possible.
    """
    user = _server_user()
    if user is None or not _is_below(data_dir, user.pw_uid):
        return
    setpriv = shutil.which("setpriv", path="/usr/bin:/bin")
    if setpriv is None:
        raise NotOurs(f"{data_dir} is the server's: run this as its user, such as by sudo -u {SERVER_USER}")
    with as_owner(data_dir):
        is_runnable = os.access(sys.executable, os.X_OK, effective_ids=True)
    if not is_runnable:
        raise NotOurs(
            f"{data_dir} is the server's, and its user cannot run {sys.executable}: use the installed vpnkeys"
        )
    os.environ["VPNKEYS_DATA_DIR"] = str(data_dir)
    os.environ["HOME"] = user.pw_dir
    _become(user, setpriv)


def _become(user: pwd.struct_passwd, setpriv: str) -> NoReturn:
    kept = ",".join(["-all", *(f"+{name}" for name, bit in _SERVICE_CAPABILITIES.items() if _capabilities() & bit)])
    ids = ("--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups", "--no-new-privs")
    sets = ("--bounding-set", kept, "--inh-caps", kept, "--ambient-caps", kept)
    # -P: not from the present directory, which may be another user's.
    os.execv(setpriv, [setpriv, *ids, *sets, "--", sys.executable, "-P", *sys.argv])  # noqa: S606 - no shell is meant


def _capabilities() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapPrm:"))


def _server_user() -> pwd.struct_passwd | None:
    """Return the user of an installed server, if we are root and there is one."""
    if os.geteuid() != _ROOT:
        return None
    try:
        user = pwd.getpwnam(SERVER_USER)
    except KeyError:
        return None
    return user if user.pw_uid != _ROOT else None


def _is_below(path: Path, uid: int) -> bool:
    """Return whether a user owns a path or one of the directories or links that lead to it."""
    for part in (path.absolute(), *path.absolute().parents):
        try:
            if part.lstat().st_uid == uid:
                return True
        except (FileNotFoundError, NotADirectoryError):
            continue
    return False


def _others_can_write(state: os.stat_result) -> bool:
    # Where each user has a group of his own, which is the usual, files are often writable for that group (umask 002).
    is_other_group = state.st_gid not in {_ROOT, os.getegid()}
    return bool(state.st_mode & S_IWOTH or (state.st_mode & S_IWGRP and is_other_group))


def _require_owner(uid: int, path: Path, *, is_root_trusted: bool = True) -> None:
    if is_root_trusted and uid in {_ROOT, os.geteuid()}:
        return
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    msg = (
        f"{path} belongs to the user {name}, who could give orders by it, so it is not used: run this as that user, "
        "or work on a data directory of your own (VPNKEYS_DATA_DIR)"
    )
    raise NotOurs(msg)
