"""Writing the log, so that nobody ever waits for it: neither for a full disk nor for a pipe that nobody reads."""

import logging
import os
import queue
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from vpnkeys.server.logevents import Event, Format, event_of, for_journal, without_secrets

FILE_MAX_BYTES = 10 * 1024 * 1024
FILES_KEPT = 5

_WAITING_MAX = 10_000
_LAST_WORDS_S = 2.0
_GATHER_S = 0.02
_TRY_AGAIN_AFTER_S = 5.0
_STDERR = 2


class Sink(Protocol):
    """Where lines go. What comes here is free of secrets."""

    def write(self, *events: Event) -> None:
        """Write these; what cannot be written is lost, and nothing is raised."""
        ...


@dataclass(frozen=True, slots=True)
class StderrSink:
    """Standard error; where that is the journal, which has a clock of its own, lines get a priority instead."""

    format: Format
    is_journal: bool

    def write(self, *events: Event) -> None:
        """All in one call, so that nobody else's lines come in between."""
        try:
            _write_whole(_STDERR, b"".join(_line(self._text(event)) for event in events))
        except OSError:
            return  # there is nobody left to tell

    def _text(self, event: Event) -> str:
        text = self.format(event, not self.is_journal)
        return for_journal(text, event.level) if self.is_journal else text


@dataclass(slots=True)
class FileSink:
    """A file for its owner alone, with `FILES_KEPT` files of `FILE_MAX_BYTES` in all: `name`, `name.1` the one before.

    When it cannot be written, `complain` hears of it once, and it is tried again every few seconds.
    """

    path: Path
    format: Format
    complain: Callable[[Event], None]
    max_bytes: int = FILE_MAX_BYTES
    clock: Callable[[], float] = time.monotonic
    _file: int | None = field(default=None, init=False)
    _lost: int = field(default=0, init=False)
    _try_at: float = field(default=0.0, init=False)

    def write(self, *events: Event) -> None:
        """One after the other, so that no file grows too large."""
        for event in events:
            self._write(event)

    def _write(self, event: Event) -> None:
        if self._lost and self.clock() < self._try_at:
            self._lost += 1
            return
        try:
            if self._lost:
                self._append(self.format(_about_us(f"{self._lost} events before this one could not be written"), True))
                self._lost = 0
            self._append(self.format(event, True))
        except OSError as error:
            self._give_up_for_now(error)

    def _append(self, text: str) -> None:
        """Raises OSError; then there is nothing of the text in the file."""
        line = _line(text)
        file = self._opened()
        size = os.fstat(file).st_size
        if size and size + len(line) > self.max_bytes:
            self._rotate()
            file, size = self._opened(), 0
        try:
            _write_whole(file, line)
        except OSError:
            os.ftruncate(file, size)  # half a line is none
            raise

    def _opened(self) -> int:
        """The file by this name, also after somebody has moved or removed the one before."""
        if self._file is not None and not self._is_in_place(self._file):
            self._close()
        if self._file is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(self.path, flags, 0o600)
            if stat.S_ISREG(os.fstat(self._file).st_mode):  # /dev/null stays everybody's
                os.fchmod(self._file, 0o600)
        return self._file

    def _is_in_place(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self.path.stat())
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        self._close()
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{number}") for number in range(1, FILES_KEPT))]
        for newer, older in reversed(list(pairwise(names))):
            if newer.exists():
                newer.replace(older)

    def _give_up_for_now(self, error: OSError) -> None:
        if not self._lost:
            self.complain(
                _about_us(f"the log file {self.path} cannot be written ({error.strerror}); it is tried again")
            )
        self._lost += 1
        self._try_at = self.clock() + _TRY_AGAIN_AFTER_S
        self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


class Outlet(logging.Handler):
    """Hands events to a sink in a thread of their own. Those that come faster than they can be written are counted."""

    def __init__(self, sink: Sink, waiting_max: int = _WAITING_MAX) -> None:
        super().__init__()
        self._sink = sink
        self._waiting_max = waiting_max
        self._waiting: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_for_ever, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record; never waits, never raises."""
        try:
            event = event_of(record)
        except Exception as error:  # noqa: BLE001 - whatever it is, what was being done goes on
            event = _about_us(f"something that {record.name} said cannot be written: {type(error).__name__}")
        self.put(event)

    def put(self, event: Event) -> None:
        """Take one event."""
        if self._waiting.qsize() < self._waiting_max:
            self._waiting.put(event)
        else:
            self._dropped += 1

    def stop(self) -> None:
        """Write what is waiting, as far as that can be done soon."""
        self._waiting.put(None)
        self._thread.join(_LAST_WORDS_S)

    def _write_for_ever(self) -> None:
        goes_on = True
        while goes_on:
            gathered = [self._waiting.get()]
            # Woken for each event, this thread would fight the others for the interpreter's lock each time.
            time.sleep(_GATHER_S)
            gathered += [self._waiting.get() for _ in range(self._waiting.qsize())]
            goes_on = None not in gathered
            dropped, self._dropped = self._dropped, 0
            if dropped:
                self._sink.write(_about_us(f"{dropped} events came faster than they could be written and are lost"))
            self._write([event for event in gathered if event is not None])

    def _write(self, events: list[Event]) -> None:
        try:
            self._sink.write(*map(without_secrets, events))
        except Exception as error:  # noqa: BLE001 - whatever it is, the next ones may fare better
            self._sink.write(_about_us(f"{len(events)} events cannot be written: {type(error).__name__}"))


def _about_us(message: str) -> Event:
    return Event(datetime.now(UTC), logging.WARNING, "vpnkeys.log", message)


def _line(text: str) -> bytes:
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _write_whole(file: int, rest: bytes) -> None:
    while rest:
        rest = rest[os.write(file, rest) :]
