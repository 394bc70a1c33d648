"""What a command says that takes minutes: a step that is silent for long is named again, with its seconds."""

import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

_EACH_S = 10.0
_END_OF_NAME = re.compile(r"[;:(]|\.(?:\s|$)")


def print_line(line: str) -> None:
    """Print a line to standard error, unless the terminal is gone."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


class Progress:
    """Prints lines, and every ten seconds after one, that its step still goes on. For the block."""

    def __init__(self, show: Callable[[str], None] = print_line, each_s: float = _EACH_S) -> None:
        """Nothing is going on yet."""
        self._show, self._each_s = show, each_s
        self._step, self._began = "", 0.0
        self._changed, self._is_over = threading.Condition(), False
        self._thread = threading.Thread(target=self._repeat, name="progress", daemon=True)

    def say(self, line: str) -> None:
        """Print a line, which begins a step."""
        with self._changed:
            self._step, self._began = _END_OF_NAME.split(line)[0].strip(), time.monotonic()
            self._show(line)
            self._changed.notify()

    def rest(self) -> None:
        """No step goes on until the next line: a person is asked."""
        with self._changed:
            self._step = ""
            self._changed.notify()

    def _repeat(self) -> None:
        with self._changed:
            while not self._is_over:
                is_silent = not self._changed.wait(self._each_s if self._step else None)
                if is_silent and self._step and not self._is_over:
                    self._show(f"{self._step}: {time.monotonic() - self._began:.0f} s")

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; no line follows."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        self._thread.join()
