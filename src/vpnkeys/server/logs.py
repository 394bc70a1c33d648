"""Sets up the server's log: its outputs, its levels, and the errors that end a thread or the process."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vpnkeys.server.logformat import LineFormatter
from vpnkeys.server.logwriter import LogFile, Outlet, Stderr
from vpnkeys.settings import Settings, journal_stream

_STDERR = 2

_log = logging.getLogger("vpnkeys.log")


@contextmanager
def logging_as_set(settings: Settings) -> Iterator[None]:
    """Send the log of the block to standard error and, when one is set, to the log file.

    Libraries (uvicorn, asyncio, Alembic) log from WARNING on. An exception that ends a thread, or the block, is logged.
    """
    as_json = settings.log_format == "json"
    stderr = Stderr()
    stderr.setFormatter(LineFormatter(as_json=as_json, for_journal=is_journal(journal_stream())))
    outlets = [Outlet(stderr)]
    if settings.log_file is not None:
        file = LogFile(settings.log_file.absolute())
        file.setFormatter(LineFormatter(as_json=as_json))
        outlets.append(Outlet(file))
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    root, ours = logging.getLogger(), logging.getLogger("vpnkeys")
    root.setLevel(max(level, logging.WARNING))
    ours.setLevel(level)
    for outlet in outlets:
        root.addHandler(outlet)
    logging.captureWarnings(capture=True)
    before, threading.excepthook = threading.excepthook, _say_what_ended_a_thread
    try:
        yield
    except Exception as error:
        # Logged here, because Python's own traceback at exit would not pass through the redaction.
        _log.critical("ended by an unexpected error; please report it", exc_info=error)
        raise SystemExit(1) from error
    finally:
        threading.excepthook = before
        for outlet in outlets:
            root.removeHandler(outlet)
            outlet.stop()


def is_journal(stream: str | None) -> bool:
    """Return whether standard error is the journal: JOURNAL_STREAM is its "device:inode" (systemd.exec(5))."""
    # The variable alone proves nothing: it is inherited also where standard error is redirected to a file.
    try:
        status = os.fstat(_STDERR)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


def _say_what_ended_a_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        name = ended.thread.name if ended.thread else "unknown"
        _log.critical(
            "thread %s ended by an unexpected error; please report it",
            name,
            exc_info=(ended.exc_type, ended.exc_value, ended.exc_traceback),
        )
