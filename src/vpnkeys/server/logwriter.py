"""Writing the log so that no caller ever waits for it: neither for a full disk nor for a pipe that nobody reads."""

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
    """Writes to standard error. What cannot be written is lost: there is nobody left to tell."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        with suppress(OSError):
            _write_whole(_STDERR, _line(self, record))


class LogFile(RotatingFileHandler):
    """A file for its owner alone, begun anew when it is full, moved away or removed.

    When it cannot be written, that is logged once, and it is tried again every few seconds.
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
        """Write one record, after the number of those that were lost before it."""
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
                _log.warning("the log file %s cannot be written (%s); it is tried again", self._path, error.strerror)
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
            os.ftruncate(file, size)  # half a line is none
            raise

    def _descriptor(self) -> int:
        """Return the file of this name, also after logrotate has moved the one before."""
        if self.stream is not None and not is_at(self.stream.fileno(), self._path):
            self.stream.close()
            self.stream = None
        if self.stream is None:
            self.stream = self._open()
            if stat.S_ISREG(os.fstat(self.stream.fileno()).st_mode):  # /dev/null stays everybody's
                os.fchmod(self.stream.fileno(), 0o600)
        return self.stream.fileno()


class Outlet(QueueHandler):
    """Hands records to a thread that writes them with a handler, and counts those for which there is no room."""

    def __init__(self, handler: logging.Handler, waiting_max: int = _WAITING_MAX) -> None:
        self._waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        super().__init__(self._waiting)
        self._waiting_max = waiting_max
        self._dropped = 0
        self._writer = _Writer(self._waiting, handler)
        self._writer.start()

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return a copy that says the same in another thread, and later."""
        record = copy.copy(record)
        record.msg, record.args = record.getMessage(), None
        record.request_id = current_request_id()
        if record.exc_info:
            record.exc_text, record.exc_info = _format_trace(record.exc_info), None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Take one record if there is room."""
        if self._waiting.qsize() >= self._waiting_max:
            self._dropped += 1
            return
        self._tell_dropped()
        self._waiting.put_nowait(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Say that a record makes no sense, in place of it: a slip in a message ends nothing."""
        message = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        self.enqueue(_about_us(f"{record.name}: {message} (its arguments do not fit)"))

    def stop(self) -> None:
        """Write what is waiting, as far as that can be done soon."""
        self._tell_dropped()
        self._writer.stop()

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._waiting.put_nowait(_about_us(f"{dropped} events came faster than they could be written and are lost"))


class _Writer(QueueListener):
    """The thread of an outlet."""

    def handle(self, record: logging.LogRecord) -> None:
        """Write one record; without the handler's lock, for which an exit would wait as long as for a stuck reader."""
        for handler in self.handlers:
            try:
                handler.emit(record)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next ones may fare better
                handler.emit(_about_us(f"an event of {record.name} cannot be written: {type(error).__name__}"))

    def stop(self) -> None:
        """End the thread, but let no reader that is stuck hold up the end of the server."""
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
