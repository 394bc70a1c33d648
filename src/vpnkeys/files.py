"""Writing a file so that after a crash it is either the old one or the new one, whole."""

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file, readable by its owner alone, and make it durable before this returns. Raises OSError.

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
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    _put_in_place(fresh, path)


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
