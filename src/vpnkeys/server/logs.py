"""The server's log: where it goes, and who is heard."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from vpnkeys.server.logformat import LineFormatter
from vpnkeys.server.logwriter import LogFile, Outlet, Stderr
from vpnkeys.settings import Settings, journal_stream

_STDERR = 2

_log = logging.getLogger("vpnkeys.log")


@contextmanager
def logging_as_set(settings: Settings) -> Iterator[None]:
    """Let everything that is said in the block go to standard error and, when there is one, to the log file.

    uvicorn, asyncio, Alembic and all others are heard from warnings on; what ends a thread is said here too.
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
    except typer.Exit:
        raise
    except Exception as error:
        # Said here, and not by Python on the way out, whose traceback would go past the net for secrets.
        _log.critical("ended by an error that nobody expected", exc_info=error)
        raise typer.Exit(1) from error
    finally:
        threading.excepthook = before
        for outlet in outlets:
            root.removeHandler(outlet)
            outlet.stop()


def is_journal(stream: str | None) -> bool:
    """Whether standard error is what systemd connected to the journal: its JOURNAL_STREAM, see systemd.exec(5)."""
    try:
        status = os.fstat(_STDERR)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


def _say_what_ended_a_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        name = ended.thread.name if ended.thread else "unknown"
        _log.critical(
            "thread %s ended by an error that nobody expected",
            name,
            exc_info=(ended.exc_type, ended.exc_value, ended.exc_traceback),
        )
