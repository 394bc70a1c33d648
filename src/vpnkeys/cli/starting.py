"""Tells in plain words why what runs in the foreground cannot start: `vpnkeys serve` and `vpnkeys agent`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from vpnkeys.domain.errors import VpnKeysError
from vpnkeys.owner import NotOurs
from vpnkeys.settings import SettingsError

_REFUSED, _USAGE = 1, 2


def say(line: str) -> None:
    """Print a line to standard error."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def starting(who: str) -> Iterator[None]:
    """End the process at an error in the block that its operator can mend: 2 for the settings, 1 for all else.

    It belongs inside the block of the log, which takes every error that reaches it for a fault of this program.
    """
    try:
        yield
    except (SettingsError, NotOurs) as error:
        _end(who, error, _USAGE)
    except VpnKeysError as error:
        _end(who, error, _REFUSED)


def _end(who: str, error: Exception, code: int) -> None:
    between = "\n" if "\n" in str(error) else " "  # settings have a line for each that is wrong
    say(f"{who} cannot start:{between}{error}")
    raise SystemExit(code) from error
