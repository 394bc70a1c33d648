"""Records the README's first run on a fresh machine: `python -m tests.support.recording FILE` (needs root).

FILE is an asciinema cast of version 2: a header, then an event a line, [seconds, "o", output]
(https://docs.asciinema.org/manual/asciicast/v2/). The machine is a guest of the tests, which is gone when the recording
ends, and with it the key and the address that are seen. The API key is replaced all the same.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.guest import Guest
from tests.support.internet import Internet
from tests.support.newcomer import TREE, furnish, quick_start
from tests.support.process import REPOSITORY
from tests.support.rootfs import NoGuestError
from vpnkeys.settings import DEFAULT_SERVER_NAMES

COLUMNS, LINES = 110, 50
PROMPT = f"root@vps:{TREE}# "
API_KEY = re.compile(r"(?<=API key, shown this once: )[\w.-]+")
INSTEAD = "(the key of this machine, which is gone)"

_HEADER = {"version": 2, "width": COLUMNS, "height": LINES, "idle_time_limit": 2.0, "title": "vpnkeys: the first run"}
_MORE = ("vpnkeys status", "vpnkeys keys list")
_TYPED_EACH_S, _PAUSE_S = 0.04, 1.0

Event = tuple[float, str]


class Recorder:
    """Collects events; time passes with the commands, and as if somebody typed them."""

    def __init__(self) -> None:
        """Begin now."""
        self.events: list[Event] = []
        self._began, self._typing_s = time.monotonic(), 0.0

    def show(self, text: str) -> None:
        """Put a text on the screen."""
        self.events.append((time.monotonic() - self._began + self._typing_s, text))

    def type(self, command: str) -> None:
        """Put a command behind the prompt, letter by letter."""
        self.show(PROMPT)
        self._typing_s += _PAUSE_S
        for letter in command:
            self._typing_s += _TYPED_EACH_S
            self.show(letter)
        self._typing_s += _PAUSE_S
        self.show("\r\n")

    def run(self, command: Sequence[str], env: dict[str, str]) -> int:
        """Run a command on a terminal of its own, put on the screen what it prints, and return its status."""
        ours, its = os.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        child = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=env, start_new_session=True)
        os.close(its)
        for text in _lines(_read(ours)):
            self.show(API_KEY.sub(INSTEAD, text))
        os.close(ours)
        return child.wait()


def _read(descriptor: int) -> Iterator[str]:
    """Yield what comes, in whole characters, until every other end is closed, which Linux says by EIO."""
    rest = b""
    with suppress(OSError):
        while chunk := os.read(descriptor, 65536):
            rest += chunk
            whole = rest.decode(errors="ignore").encode()
            if rest.startswith(whole):
                yield whole.decode()
                rest = rest[len(whole) :]


def _lines(parts: Iterable[str]) -> Iterator[str]:
    """Yield the parts in whole lines, so that what is looked for in them is never cut in two."""
    rest = ""
    for part in parts:
        whole, end, rest = (rest + part).rpartition("\n")
        if end:
            yield whole + end
    if rest:
        yield rest


def cast_of(events: Sequence[Event]) -> str:
    """Return the text of the cast."""
    lines = [json.dumps(_HEADER), *(json.dumps([round(at, 3), "o", text]) for at, text in events)]
    return "".join(f"{line}\n" for line in lines)


def record(said: Callable[[str], None]) -> str:
    """Return the cast of the first run. Raises NoGuestError where there can be no guest."""
    with Guest() as guest:
        furnish(guest)
        with Internet(guest, DEFAULT_SERVER_NAMES.split(",")):
            recorder = Recorder()
            for command in (*quick_start(REPOSITORY / "README.md"), *_MORE):
                said(command)
                recorder.type(command)
                line = guest.command("bash", "-c", f"cd {TREE} && {command}")
                status = recorder.run(line, guest.environment(TERM="xterm-256color"))
                if status:
                    raise RuntimeError(f"{command}: {status}\n{recorder.events[-1][1]}")
            recorder.show(PROMPT)
            return cast_of(recorder.events)


if __name__ == "__main__":
    try:
        Path(sys.argv[1]).write_text(record(print), encoding="utf-8")
    except NoGuestError as error:
        sys.exit(f"no recording: {error}")
