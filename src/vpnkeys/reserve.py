"""Some space of the data directory's disk in reserve, which is given up when the disk is full.

Then stops and traffic can still be stored, and config.json can be written, until an operator has made room.
"""

import errno
import logging
import os
from contextlib import suppress
from pathlib import Path

_log = logging.getLogger(__name__)

_MIB = 2**20

RESERVE_FILE = "reserve"
RESERVE_BYTES = 4 * _MIB
FULL_BELOW_BYTES = _MIB
"""A disk with less free space is full: the reserve is given up before the last of it is used."""
_LEFT_BESIDE_BYTES = 2 * _MIB  # more than a full disk has, so that the reserve is not given up at once

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


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
    """Put the reserve on the disk if there is room. A disk that takes it not is no error: its user does without."""
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


def is_full(error: OSError) -> bool:
    """Return whether a write failed because the disk, or our share of it, is full."""
    return error.errno in _NO_SPACE
