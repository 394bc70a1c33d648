"""Writes the log in threads of its own, so that no caller waits for a slow disk or a pipe that is not read."""

import copy
import logging
import os
import queue
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path

from vpnkeys.files import is_at
from vpnkeys.server.requests import current_request_id

FILE_MAX_BYTES = 10 * 1024 * 1024
FILES_KEPT = 5

_WAITING_MAX = 10_000
_LAST_WORDS_S = 2.0
_TRY_AGAIN_AFTER_S = 5.0
_STDERR = 2

_log = logging.getLogger("vpnkeys.log")
_format_trace = logging.Formatter().formatException


class Stderr(logging.Handler):
    """Writes to standard error. A line that cannot be written is lost: there is no other place to report it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        with suppress(OSError):
            _write_whole(_STDERR, _line(self, record))


class LogFile(RotatingFileHandler):
    """Writes to a file with mode 0600, and starts a new one when it is full, was moved or was removed.

    A failure to write is logged once. The file is tried again every five seconds; then it says how many lines are lost.
    """

    def __init__(
        self, path: Path, max_bytes: int = FILE_MAX_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=FILES_KEPT - 1, delay=True)
        self._path = path
        self._clock = clock
        self._lost = 0
        self._try_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; after a failure, first the number of records that were lost."""
        if self._lost and self._clock() < self._try_at:
            self._lost += 1
            return
        try:
            if self._lost:
                self._append(_about_us(f"{self._lost} events before this one could not be written"))
                self._lost = 0
            self._append(record)
        except OSError as error:
            if not self._lost:
                _log.warning(
                    "the log file %s cannot be written (%s); it is tried again every 5 s",
                    self._path,
                    error.strerror,
                )
            self._lost += 1
            self._try_at = self._clock() + _TRY_AGAIN_AFTER_S

    def _append(self, record: logging.LogRecord) -> None:
        line = _line(self, record)
        file = self._descriptor()
        size = os.fstat(file).st_size
        if size and size + len(line) > self.maxBytes:
            self.doRollover()
            file, size = self._descriptor(), 0
        try:
            _write_whole(file, line)
        except OSError:
            os.ftruncate(file, size)  # a full disk may have taken half of the line
            raise

    def _descriptor(self) -> int:
        """Return a descriptor of the file that has the path now, also after logrotate has moved the one before."""
        if self.stream is not None and not is_at(self.stream.fileno(), self._path):
            self.stream.close()
            self.stream = None
        if self.stream is None:
            self.stream = self._open()
            if stat.S_ISREG(os.fstat(self.stream.fileno()).st_mode):  # never change the mode of /dev/null or a terminal
                os.fchmod(self.stream.fileno(), 0o600)
        return self.stream.fileno()


class Outlet(QueueHandler):
    """Passes records to a thread that writes them with a handler; drops and counts them when 10,000 are waiting."""

    def __init__(self, handler: logging.Handler, waiting_max: int = _WAITING_MAX) -> None:
        self._waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        super().__init__(self._waiting)
        self._waiting_max = waiting_max
        self._dropped = 0
        self._writer = _Writer(self._waiting, handler)
        self._writer.start()

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return a copy with its message, request id and traceback rendered, for another thread at a later time."""
        # Arguments may change before the thread formats them, and the request id is a context variable of this thread.
        record = copy.copy(record)
        record.msg, record.args = record.getMessage(), None
        record.request_id = current_request_id()
        if record.exc_info:
            record.exc_text, record.exc_info = _format_trace(record.exc_info), None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue one record, or count it as dropped."""
        if self._waiting.qsize() >= self._waiting_max:
            self._dropped += 1
            return
        self._tell_dropped()
        self._waiting.put_nowait(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Log that a record could not be formatted, in its place: a mistake in a log call must not fail its caller."""
        message = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        self.enqueue(_about_us(f"{record.name}: {message} (its arguments do not fit)"))

    def stop(self) -> None:
        """Write the waiting records, for two seconds at most, and end the thread."""
        self._tell_dropped()
        self._writer.stop()

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._waiting.put_nowait(_about_us(f"{dropped} events came faster than they could be written and are lost"))


class _Writer(QueueListener):
    """The thread of an `Outlet`."""

    def handle(self, record: logging.LogRecord) -> None:
        """Write one record, without taking the handler's lock."""
        # logging.shutdown() takes the lock at exit, and would wait for a write to a pipe that is not read.
        for handler in self.handlers:
            try:
                handler.emit(record)
            except Exception as error:  # noqa: BLE001 - the thread goes on with the next record
                handler.emit(_about_us(f"an event of {record.name} cannot be written: {type(error).__name__}"))

    def stop(self) -> None:
        """End the thread; leave it behind, a daemon, when its write does not return within two seconds."""
        self.enqueue_sentinel()
        if self._thread is not None:
            self._thread.join(_LAST_WORDS_S)
            if not self._thread.is_alive():
                for handler in self.handlers:
                    handler.close()


def _about_us(message: str) -> logging.LogRecord:
    return logging.LogRecord(_log.name, logging.WARNING, "", 0, message, None, None)


def _line(handler: logging.Handler, record: logging.LogRecord) -> bytes:
    return f"{handler.format(record)}\n".encode("utf-8", "backslashreplace")


def _write_whole(file: int, rest: bytes) -> None:
    while rest:
        rest = rest[os.write(file, rest) :]
