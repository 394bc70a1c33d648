"""The whole command line as one Typer command: it prints each failure once, and ends with its exit code."""

import errno
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import typer
from typer.core import TyperGroup

from vpnkeys.cli.failures import REFUSED, USAGE, Failed, lost_output

# Where Typer has the class itself depends on its version.
_UsageError: type[typer.BadParameter] = typer.BadParameter.__bases__[0]
_NOT_WRITTEN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})


class Program(TyperGroup):
    """The group of all commands."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **options: Any) -> Any:  # noqa: ANN401 - Typer's own
        """Run the command that is called, and end the process."""
        words = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in takewhile("--".__ne__, words)
        try:
            ended = self._run(words, *more, **options, standalone_mode=not as_json)
        except Failed as failed:
            failed.show(as_json=as_json)
            ended = failed.exit_code
        sys.exit(ended)

    def _run(self, words: Sequence[str], *more: Any, **options: Any) -> str | int | None:  # noqa: ANN401 - likewise
        """Return the exit code. Raises Failed; without --json, Typer itself prints what is wrong with the words."""
        try:
            ended: str | int | None = _exit_code(super().main(words, *more, **options))
        except SystemExit as end:
            ended = end.code
        except _UsageError as error:
            raise Failed(error.format_message(), USAGE, code="wrong_usage") from error
        except typer.Abort as error:
            raise Failed("It was not confirmed, and nothing was done.", REFUSED, code="aborted") from error
        except OSError as error:
            if error.filename is not None or error.errno not in _NOT_WRITTEN:
                raise
            raise lost_output(error) from error
        return _flushed(ended)


def _exit_code(ended: object) -> int:
    return ended if isinstance(ended, int) else 0


def _flushed(ended: str | int | None) -> str | int | None:
    """Return the exit code when all output is written. Raises Failed; a reader that has gone is code 1."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        failed = lost_output(error)
        if error.errno != errno.EPIPE:
            raise failed from error
        return REFUSED
    return ended
