"""What the command lines of processes showed to everybody on the machine, while they lived."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.support import procfs


@dataclass(slots=True)
class CommandLines:
    """Every command line below a process, watched until the end."""

    pids: list[int]
    seen: set[str] = field(default_factory=set)
    _ending: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def look(self) -> None:
        """Note all that are there now."""
        for pid in {below for top in self.pids for below in (top, *procfs.descendants(top))}:
            try:
                self.seen.add(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue

    def _watch(self) -> None:
        while not self._ending.wait(0.02):
            self.look()

    def __enter__(self) -> Self:
        self.look()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        assert self._thread is not None
        self._thread.join()
