"""Writing a file so that after a crash it is either the old one or the new one, whole."""

import os
from pathlib import Path
from typing import NamedTuple, Self


class Mark(NamedTuple):
    """What a file is known by: whoever replaces or changes it leaves another mark."""

    inode: int
    size: int
    changed_at_ns: int

    @classmethod
    def of(cls, state: os.stat_result) -> Self:
        """The mark of a file."""
        return cls(state.st_ino, state.st_size, state.st_mtime_ns)


def write_atomically(path: Path, content: bytes) -> Mark:
    """Replace a file, readable by its owner alone, and make it durable before this returns; its mark. Raises OSError.

    The new content goes to a neighbour first, is brought to the disk, and takes the name in one step; then the
    directory is brought to the disk too, or a power cut could bring the old file back.
    """
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
    """Where the new content of a file waits; the same ending, by which Xray tells the format."""
    return path.with_name(f".{path.stem}.new{path.suffix}")


def _put_in_place(fresh: Path, path: Path) -> None:
    """Give a durable file its name, durably."""
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
