"""How a command fails: an exit code, and a sentence for people or, with --json, one document for programs."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

REFUSED, USAGE, UNAVAILABLE = 1, 2, 3


class Failed(Exception):
    """Ends a command. The fields are those of an error of the API."""

    def __init__(
        self,
        detail: str,
        exit_code: int,
        *,
        code: str,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail, self.exit_code, self.code = detail, exit_code, code
        self.status, self.retry_after_s = status, retry_after_s

    def show(self, *, as_json: bool) -> None:
        """Print it to standard error."""
        # Only here, because it loads rich, and the whole command line loads this module.
        from vpnkeys.cli.output.plain import plain_json, plain_lines  # noqa: PLC0415

        if not as_json:
            print(f"vpnkeys: {plain_lines(self.detail)}", file=sys.stderr)
            return
        fields = {
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "retry_after_s": self.retry_after_s,
        }
        # In one line, because other lines may follow on standard error.
        print(plain_json({"error": fields}, indent=None), file=sys.stderr)


def wrong_usage(message: str) -> NoReturn:
    """End the command with code 2: the command line or the settings are wrong."""
    raise Failed(message, USAGE, code="wrong_usage")


def refused(message: str) -> NoReturn:
    """End the command with code 1: nothing was done, and a repeat would not help."""
    raise Failed(message, REFUSED, code="refused")


def lost_output(error: OSError, where: str = "") -> Failed:
    """Return the failure of a command whose output cannot be written; `where` says how to get at what it made."""
    with suppress(OSError, ValueError):
        # Python writes what is left at the end, and would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    detail = f"The command was carried out, but its output cannot be written: {error.strerror}."
    return Failed(f"{detail} {where}".strip(), REFUSED, code="output_lost")


@contextmanager
def kept_if_lost(where: str) -> Iterator[None]:
    """Print in the block what was made; when standard output does not take it, end the command with `where`."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        raise lost_output(error, where) from error
