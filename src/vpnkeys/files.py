"""Atomic and durable writes, marks and digests of files, and the process that listens on a Unix socket."""

import hashlib
import os
import socket
import struct
from pathlib import Path
from typing import NamedTuple, Self

from vpnkeys.reserve import give_up_reserve, is_full, make_room

_PEER_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


class Mark(NamedTuple):
    """A mark identifies one version of a file without reading it: replacing or changing the file changes its mark."""

    inode: int
    size: int
    changed_at_ns: int

    @classmethod
    def of(cls, state: os.stat_result) -> Self:
        """Return the mark of a file from its stat(2) result."""
        return cls(state.st_ino, state.st_size, state.st_mtime_ns)

    @classmethod
    def at(cls, path: Path) -> Self | None:
        """Return the mark of the file at a path, links followed; None where no file can be seen."""
        try:
            return cls.of(path.stat())
        except OSError:
            return None


def write_atomically(path: Path, content: bytes) -> Mark:
    """Replace a file durably, readable only by its owner, and return its mark. Raises OSError.

    The content is written to a temporary file in the same directory and synced, and the file is renamed over the old
    one. Then the directory is synced too, or a power cut could bring the old file back. On a full disk the reserve of
    the directory is given up for it.
    """
    make_room(path.parent)
    try:
        return _write(path, content)
    except OSError as error:
        # Full by a quota that statvfs(2) does not show, or filled up meanwhile.
        if not (is_full(error) and give_up_reserve(path.parent)):
            raise
    return _write(path, content)


def _write(path: Path, content: bytes) -> Mark:
    fresh = staging_path(path)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.fsync(descriptor)
        mark = Mark.of(os.fstat(descriptor))
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    _put_in_place(fresh, path)
    return mark


def staging_path(path: Path) -> Path:
    """Return the path of the temporary file. It keeps the suffix, from which Xray detects the format."""
    return path.with_name(f".{path.stem}.new{path.suffix}")


def _put_in_place(fresh: Path, path: Path) -> None:
    """Rename a synced file to its final name, and sync the directory."""
    fresh.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Sync the names in a directory, or a power cut could bring the old ones back. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file still has this name: it was not moved, replaced or removed. Raises OSError."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def sha256_of(path: Path) -> str:
    """Return the SHA-256 digest of a file's content, in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listener_pid(path: Path, timeout_s: float) -> int:
    """Return the pid of the process that listens on a Unix socket. Raises OSError when none answers in time."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        # A stopped process takes no connection off its queue; when that is full, connecting would wait for ever.
        peer.settimeout(timeout_s)
        peer.connect(os.fspath(path))
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    return int(_PEER_CREDENTIALS.unpack(credentials)[0])
