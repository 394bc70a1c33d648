"""Gives writers of an SQLite database their turns in the order in which they asked, across threads and processes.

SQLite keeps no queue: its lock goes to the first that asks while it is free. Here each writer locks a byte of the
database's directory, the one whose number is the time at which it asked, and waits until no byte below it is locked.
These are read locks of an open file description (`fcntl(2)`, F_OFD_SETLK): they need no file of their own and no right
to write, threads of one process hold them apart, and the kernel releases them at death. They only keep order. What
keeps two writers apart is SQLite's lock, so that a place which cannot be had costs order and nothing else.
"""

import fcntl
import math
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from vpnkeys.store.sql.opened import directory_of

_FLOCK = struct.Struct("hhqqi0q")  # struct flock: type, whence, start, length, pid
_PAUSE_S = 0.0005
"""The pause between two looks of a process's first waiter, shorter than a write. A blocking lock has no time limit."""

STALLED_AFTER_S = 2.0
"""How long a writer waits for one and the same writer ahead: so long a stopped process (SIGSTOP) delays the others.

For each further one that stands still it waits half as long, so that many of them cost less than twice this time.
"""


class Writers:
    """Implements the queue of all writers of the databases in a directory."""

    def __init__(self, directory: str | None) -> None:
        self._directory = directory
        self._asking = threading.Lock()
        self._last_here = threading.Lock()

    @classmethod
    def of(cls, engine: Engine) -> "Writers":
        """Return the queue of a database; one that keeps no order where the database is not a file."""
        directory = directory_of(engine)
        return cls(None if directory is None else str(directory))

    @contextmanager
    def turn(self, patience_s: float = math.inf) -> Iterator[None]:
        """Wait until all earlier writers have had their turns or have died; the turn lasts as long as the block.

        After `patience_s` it begins all the same.
        """
        ends_at = time.monotonic() + patience_s
        over = threading.Lock()
        over.acquire()
        with self._asking:
            place = None if self._directory is None else _take_place(self._directory)
            before, self._last_here = self._last_here, over
        try:
            if place is not None:
                # Only the first waiter of a process looks again and again; the others sleep until they are first.
                before.acquire(timeout=min(STALLED_AFTER_S, patience_s))
                _wait(*place, ends_at)
            yield
        finally:
            if place is not None:
                _leave(place[0])
            over.release()


def _take_place(path: str) -> tuple[int, int] | None:
    """Return the open directory and the number of the byte that is locked in it; None where that cannot be done."""
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    # The clock counts from the start of the machine and is the same in all its processes.
    number = time.monotonic_ns()
    try:
        fcntl.fcntl(directory, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, number, 1, 0))
    except OSError:
        os.close(directory)
        return None
    return directory, number


def _wait(directory: int, number: int, ends_at: float) -> None:
    # Who stands still is passed, and only that one: all who leave the queue at once would fight for SQLite's lock.
    passed, first, since, patience_s = 0, -1, 0.0, STALLED_AFTER_S
    while passed < number and (found := _ahead(directory, passed, number)) is not None:
        now = time.monotonic()
        if now > ends_at:
            return
        if found != first:
            first, since = found, now
        elif now - since > patience_s:
            passed, patience_s = found + 1, patience_s / 2
        time.sleep(_PAUSE_S)


def _ahead(directory: int, passed: int, number: int) -> int | None:
    """Return the number of the first writer ahead, from `passed` on; None when there is none."""
    # Would a write lock on all bytes between conflict? Only asked, never taken.
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, passed, number - passed, 0)
    kind, _, found, _, _ = _FLOCK.unpack(fcntl.fcntl(directory, fcntl.F_OFD_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else found


def _leave(directory: int) -> None:
    # Closing alone is not enough: a child that is being started has a copy, which holds the lock until its exec.
    fcntl.fcntl(directory, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0))
    os.close(directory)
