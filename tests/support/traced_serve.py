"""`vpnkeys serve` that writes down which of our own functions each `POST /api/keys` calls, and from where.

`TRACE_FILE` gets one line for each call between two of our files: the caller's file and the called one, a tab between.
The request's own thread is followed, and every thread that it hands work to; workers in the background are not.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from types import FrameType

import vpnkeys
from vpnkeys.cli.commands.serve import serve
from vpnkeys.server import requests

_SOURCE = f"{Path(vpnkeys.__file__).parent}{os.sep}"
_HANDED_TO = ("MainThread", "AnyIO worker thread", "config-writer")
_ENTRY = requests.__file__
_LIKE_A_LIBRARY = f"{_SOURCE}memo.py"  # a cache calls what it caches, as functools.cache does


class Tracer:
    """Follows the calls of the one request."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._calls: dict[tuple[str, str], None] = {}
        self._is_on = False

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """Take one event of the interpreter."""
        if event != "call" or not _is_ours(frame):
            return
        if frame.f_code.co_filename == _ENTRY:
            self._at_the_entry(frame)
        if self._is_on and threading.current_thread().name.startswith(_HANDED_TO):
            self._calls[_caller_of(frame), _short(frame)] = None

    def _at_the_entry(self, frame: FrameType) -> None:
        """Begin with the request, and write down what was seen when it is logged."""
        if frame.f_code.co_name == "__call__":
            scope = frame.f_locals.get("scope", {})
            self._is_on = (scope.get("method"), scope.get("path")) == ("POST", "/api/keys")
        elif frame.f_code.co_name == "_log" and self._is_on:
            self._is_on = False
            lines = "".join(f"{caller}\t{called}\n" for caller, called in self._calls)
            self._path.write_text(lines, encoding="utf-8")
            self._calls.clear()


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_SOURCE) and frame.f_code.co_filename != _LIKE_A_LIBRARY


def _short(frame: FrameType) -> str:
    return frame.f_code.co_filename.removeprefix(_SOURCE)


def _caller_of(frame: FrameType) -> str:
    """Return the nearest file of ours up the stack; empty where a thread begins, or a task goes on."""
    above = frame.f_back
    while above is not None:
        if _is_ours(above):
            return _short(above)
        above = above.f_back
    return ""


if __name__ == "__main__":
    tracer = Tracer(Path(os.environ["TRACE_FILE"]))
    threading.setprofile(tracer)
    sys.setprofile(tracer)
    serve()
