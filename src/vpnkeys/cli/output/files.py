"""Files with secrets that commands write."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from vpnkeys.cli.failures import refused


@contextmanager
def secret_file(file: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """Open a file that only its owner can read, and give it its name only when it is complete.

    A file that exists, which `force` replaces, or that cannot be written ends the command with code 1.
    """
    try:
        if file.exists() and not force:
            refused(f"{file} exists already; give --force, or another name")
        # In the same directory, because a rename is atomic only within a file system; its mode is 0600.
        with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as out:
            part = Path(out.name)
            try:
                yield out
                out.flush()
                os.fsync(out.fileno())
                part.replace(file)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        refused(f"{file} cannot be written: {error.strerror}")
