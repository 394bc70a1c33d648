"""The command line, called in this process: what `python -m vpnkeys` does, without the second that its start takes."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from io import BytesIO, TextIOWrapper
from pathlib import Path
from unittest import mock

from vpnkeys.cli.main import main


def call(arguments: tuple[str, ...], env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Return what the command prints and its exit code, in this environment alone and without a terminal.

    It is for commands that ask a server, and for those that only read and write files. What is about the process itself
    needs a real one: signals, terminals, closed pipes, another user, commands that serve.
    """
    assert threading.current_thread() is threading.main_thread(), "the environment and the streams are the process's"
    out, err = BytesIO(), BytesIO()
    with (
        mock.patch.dict(os.environ, env, clear=True),
        mock.patch.object(sys, "argv", ["vpnkeys", *arguments]),
        chdir(cwd),
        _streams(out, err),
        _own_mask(),
    ):
        code = _exit_code()
    return subprocess.CompletedProcess(arguments, code, out.getvalue().decode(), err.getvalue().decode())


@contextmanager
def _own_mask() -> Iterator[None]:
    """The file mode mask that a shell gives a command, and afterwards this process's own."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _streams(out: BytesIO, err: BytesIO) -> Iterator[None]:
    """Standard input at its end, and both outputs apart, as pipes would be."""
    with (
        Path(os.devnull).open(encoding="utf-8") as stdin,
        mock.patch.object(sys, "stdin", stdin),
        mock.patch.object(sys, "stdout", TextIOWrapper(out, "utf-8", write_through=True)) as stdout,
        mock.patch.object(sys, "stderr", TextIOWrapper(err, "utf-8", "backslashreplace", write_through=True)) as stderr,
    ):
        yield
        for stream in (stdout, stderr):
            stream.detach()


def _exit_code() -> int:
    """What an interpreter would end with, after an uncaught error's traceback on standard error."""
    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except Exception:  # noqa: BLE001 - an interpreter catches as much
        traceback.print_exc()
        return 1
    finally:
        gc.unfreeze()  # this process goes on, and what it leaves has to be found
    return 0
