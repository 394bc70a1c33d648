"""Atomic and durable writes, marks and digests of files, and certificates that are in some.

Some space of the data directory's disk is kept in reserve, and given up when the disk is full. Then stops and traffic
can still be stored, and config.json can be written, until an operator has made room.
"""

import errno
import hashlib
import logging
import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

_log = logging.getLogger(__name__)

_MIB = 2**20

RESERVE_FILE = "reserve"
RESERVE_BYTES = 4 * _MIB
FULL_BELOW_BYTES = _MIB
"""A disk with less free space is full: the reserve is given up before the last of it is used."""
_LEFT_BESIDE_BYTES = 2 * _MIB  # more than a full disk has, so that the reserve is not given up at once

# A link that another user puts there is not followed.
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


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
        if not (_is_full(error) and give_up_reserve(path.parent)):
            raise
    return _write(path, content)


def _write(path: Path, content: bytes) -> Mark:
    fresh = staging_path(path)
    try:
        descriptor = os.open(fresh, _NEW_FILE, 0o600)
    except FileExistsError:
        _clear(fresh)
        descriptor = os.open(fresh, _NEW_FILE, 0o600)
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


def _clear(fresh: Path) -> None:
    """Clear the path of a temporary file of what a crash left there, or of a directory, which is nobody's."""
    if fresh.is_dir() and not fresh.is_symlink():
        fresh.rename(f"{fresh}.{time.time_ns()}")
    else:
        fresh.unlink(missing_ok=True)


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


@contextmanager
def in_memory(content: bytes) -> Iterator[str]:
    """Yield the path of a file in memory (memfd_create(2)) with this content: a secret leaves no file on the disk."""
    # For libraries that read from paths only; through /proc a descriptor has one.
    with open(os.memfd_create("vpnkeys", os.MFD_CLOEXEC), "wb", buffering=0) as copy:  # noqa: PTH123 - a descriptor
        copy.write(content)
        yield f"/proc/self/fd/{copy.fileno()}"


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


def free_bytes(directory: Path) -> int:
    """Return the free space of a directory's disk. Raises OSError."""
    space = os.statvfs(directory)
    return space.f_bavail * space.f_frsize


def has_reserve(data_dir: Path) -> bool:
    """Return whether the reserve is on the disk, in full."""
    try:
        return (data_dir / RESERVE_FILE).stat().st_blocks * 512 >= RESERVE_BYTES
    except OSError:
        return False


def keep_reserve(data_dir: Path) -> None:
    """Put the reserve on the disk if there is room. On a disk that does not take it, its user does without."""
    with suppress(OSError):
        if not has_reserve(data_dir) and free_bytes(data_dir) >= RESERVE_BYTES + _LEFT_BESIDE_BYTES:
            _allocate(data_dir / RESERVE_FILE)


def _allocate(file: Path) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        # Allocated, not only long: a sparse file would leave nothing when it is removed.
        os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
    except OSError:
        file.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def make_room(data_dir: Path) -> None:
    """Give the reserve up if the disk is full; called before each write."""
    with suppress(OSError):
        if free_bytes(data_dir) < FULL_BELOW_BYTES:
            give_up_reserve(data_dir)


def give_up_reserve(data_dir: Path) -> bool:
    """Remove the reserve; return whether there was one."""
    try:
        (data_dir / RESERVE_FILE).unlink()
    except OSError:  # it is gone already, or the disk is read-only
        return False
    _log.error(
        "the disk of %s is full, and the %d MiB that were kept in reserve are used now: free some space, or soon "
        "nothing can be stored",
        data_dir,
        RESERVE_BYTES // _MIB,
    )
    return True


def _is_full(error: OSError) -> bool:
    """Return whether a write failed because the disk, or our share of it, is full."""
    return error.errno in _NO_SPACE


class CaUnfit(Exception):
    """The certificates to trust cannot be loaded from their file; the text says why."""


def load_ca(path: Path) -> ssl.SSLContext:
    """Return a context for clients that trusts the certificates in a PEM file. Raises CaUnfit."""
    try:
        return ssl.create_default_context(cafile=str(path))
    except ssl.SSLError as error:
        raise CaUnfit(f"{path} has no certificates in PEM") from error
    except OSError as error:
        raise CaUnfit(f"{path} cannot be read: {error.strerror}") from error


def check_pair(cert: str | Path, key: str | Path) -> None:
    """Check that these are a certificate and its key, in PEM and without a password. Raises OSError or ValueError."""
    load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert, key)


def load_pair(context: ssl.SSLContext, cert: str | Path, key: str | Path) -> None:
    """Load a certificate and its key into a context. Raises OSError or ValueError; it may be without both then."""
    # Without a password callback OpenSSL asks on the terminal for an encrypted key's password, and blocks the server.
    context.load_cert_chain(cert, key, password=lambda: "")
