"""Holds stops outside of a database that does not take them, so that no end of the server undoes them.

A full disk has room only for what has its room already. So the journal's file is made while there is room, and written
in place: an overwrite of blocks that exist needs no new ones, except on file systems that copy on each write. A
read-only disk takes not even that, so the journal is in `run/` as well where that is in memory. The reasons are in
docs/adr/0016-one-road.md.
"""

import errno
import hashlib
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

import orjson
from pydantic import TypeAdapter

from vpnkeys.domain.key import KEY_TAG_PREFIX
from vpnkeys.files import FULL_BELOW_BYTES, free_bytes, sync_directory
from vpnkeys.interfaces import HeldStops, Holds
from vpnkeys.rundir import run_dir

_log = logging.getLogger(__name__)

JOURNAL_FILE: Final = "stops"
_HALF_BYTES: Final = 256 * 2**10
"""Room for the stops of some 1,500 keys, compressed."""
_HEADER: Final = struct.Struct("<8sQI32s")
_MAGIC: Final = b"vpnstop1"


class _Entry(NamedTuple):
    """What a file holds: the entry with the greatest number counts. No content means no stops."""

    number: int = 0
    half: int = 1
    content: bytes = b""


@dataclass(slots=True)
class FileStopJournal:
    """Implements `StopJournal` in files: on the disk of the data directory, and in memory where `run/` is there."""

    data_dir: Path
    _is_outdated: bool = field(default=False, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def keep(self, held: HeldStops) -> Holds:
        """Hold these stops in place of all earlier ones; return for how long they hold."""
        content = zlib.compress(_adapter().dump_json(held))
        with self._lock:
            taken = self._write(content, [self._on_disk, *self._in_memory()])
        if self._on_disk in taken:
            return Holds.FOR_GOOD
        return Holds.UNTIL_REBOOT if taken else Holds.UNTIL_EXIT

    def read(self) -> HeldStops | None:
        """Return the stops that are held; None when there are none, or when they cannot be read."""
        try:
            content = self._newest().content
            return _adapter().validate_json(zlib.decompress(content)) if content else None
        except (ValueError, zlib.error):
            _log.exception("stops that an earlier server could not store cannot be read, and are lost")
            return None

    def clear(self) -> None:
        """Hold nothing any more."""
        with self._lock:
            there = [path for path in (self._on_disk, *self._in_memory()) if path.exists()]
            # A file that could not be written is outdated by the other one's number, and written later.
            self._is_outdated = len(self._write(b"", there)) < len(there)

    def prepare(self) -> None:
        """Make the file on the disk if there is room, and clear what could not be cleared."""
        if self._is_outdated:
            self.clear()
        with self._lock, suppress(OSError):
            if free_bytes(self.data_dir) >= 2 * FULL_BELOW_BYTES:
                _make(self._on_disk)

    def stopped_tags(self) -> frozenset[str]:
        """Return the tags of the inbounds of all keys that are held, for a start of Xray without the server."""
        with suppress(ValueError, LookupError, TypeError, zlib.error):
            if content := self._newest().content:
                held = orjson.loads(zlib.decompress(content))
                ids = [*held["changes"]["delete"], *(stop["key_id"] for stop in held["stops"])]
                return frozenset(f"{KEY_TAG_PREFIX}{key_id}" for key_id in ids)
        return frozenset()

    @property
    def _on_disk(self) -> Path:
        return self.data_dir / JOURNAL_FILE

    def _in_memory(self) -> list[Path]:
        # Asked each time, as `run/` may be made anew. A plain directory is on the same disk, and of no more use.
        run = run_dir(self.data_dir)
        return [run / JOURNAL_FILE] if run.is_symlink() else []

    def _newest(self) -> _Entry:
        return max(_entry_in(path) for path in (self._on_disk, *self._in_memory()))

    def _write(self, content: bytes, paths: list[Path]) -> list[Path]:
        """Write one more entry to these files; return those that took it."""
        number, taken = self._newest().number + 1, []
        for path in paths:
            try:
                _make(path)
                _overwrite(path, number, content)
            except OSError as error:
                _log.warning("%s does not take the stops that the database did not take: %s", path, error.strerror)
            else:
                taken.append(path)
        return taken


def _adapter() -> TypeAdapter[HeldStops]:
    return TypeAdapter(HeldStops)


def _make(path: Path) -> None:
    """Make the file with all its blocks, unless it is there. Raises OSError."""
    with suppress(FileNotFoundError):
        if path.stat().st_size == 2 * _HALF_BYTES:
            return
    try:
        with _opened(path, os.O_WRONLY | os.O_CREAT) as descriptor, os.fdopen(descriptor, "wb", closefd=False) as file:
            # Zeros, not only allocated: the first write to blocks that are only allocated may need new ones.
            file.write(bytes(2 * _HALF_BYTES))
            file.flush()
            os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise
    sync_directory(path.parent)


def _overwrite(path: Path, number: int, content: bytes) -> None:
    """Write an entry over the older half, so that a crash leaves the newer one whole. Raises OSError."""
    header = _HEADER.pack(_MAGIC, number, len(content), _digest(number, content))
    if len(header) + len(content) > _HALF_BYTES:
        raise OSError(errno.EFBIG, f"they are more than its {_HALF_BYTES // 2**10} KiB")
    at = (1 - _entry_in(path).half) * _HALF_BYTES
    with _opened(path, os.O_WRONLY) as descriptor:
        os.pwrite(descriptor, header + content, at)
        os.fdatasync(descriptor)


def _entry_in(path: Path) -> _Entry:
    """Return the newest whole entry of a file; an empty one when there is none."""
    try:
        with _opened(path, os.O_RDONLY) as descriptor:
            halves = [os.pread(descriptor, _HALF_BYTES, half * _HALF_BYTES) for half in (0, 1)]
    except OSError:
        return _Entry()
    return max([_Entry(), *(entry for half, raw in enumerate(halves) if (entry := _parsed(half, raw)))])


def _parsed(half: int, raw: bytes) -> _Entry | None:
    """Return the entry in half of a file; None when it was not written whole."""
    if len(raw) < _HEADER.size:
        return None
    magic, number, length, digest = _HEADER.unpack_from(raw)
    content = raw[_HEADER.size : _HEADER.size + length]
    is_whole = magic == _MAGIC and digest == _digest(number, content)
    return _Entry(number, half, content) if is_whole else None


def _digest(number: int, content: bytes) -> bytes:
    return hashlib.sha256(number.to_bytes(8) + content).digest()


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
