"""Runs a program that should answer at once, and does not wait in silence for one that hangs."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

SAID_AFTER_S: Final = 2.0


def answer_of(
    command: Sequence[str | Path], *, within_s: float, say: Callable[[str], None]
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its answer; after two seconds `say` receives what is waited for.

    Raises OSError when it cannot be run, TimeoutExpired when it has not ended in time; it is killed then.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # a group, so that what a script started ends with it, and does not hold the pipes open
    ) as process:
        try:
            out, err = _communicate(process, within_s, f"Waiting for `{' '.join(map(str, command))}`", say)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _communicate(
    process: subprocess.Popen[str], within_s: float, waiting: str, say: Callable[[str], None]
) -> tuple[str, str]:
    try:
        return process.communicate(timeout=min(SAID_AFTER_S, within_s))
    except subprocess.TimeoutExpired:
        say(f"{waiting}, which should have answered at once; it is given {within_s:.0f} s.")
    return process.communicate(timeout=max(0.0, within_s - SAID_AFTER_S))
