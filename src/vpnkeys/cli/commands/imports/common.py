"""What imports share: reading files, and ending with one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

from vpnkeys.cli.output.plain import plain_json, plain_lines
from vpnkeys.domain.errors import LegacyUnreadable, VpnKeysError
from vpnkeys.owner import as_owner
from vpnkeys.settings import SettingsError


@contextmanager
def told(*, as_json: bool) -> Iterator[None]:
    """End the command with one sentence for an error of the block."""
    try:
        yield
    except SettingsError as error:
        _fail("settings", str(error), as_json=as_json, status=2)
    except VpnKeysError as error:
        _fail(error.code, str(error), as_json=as_json, status=1)
    except OSError as error:
        _fail("unwritable", f"{error}; nothing was imported.", as_json=as_json, status=1)


def text_of(path: Path) -> str:
    """Return the text of a file. Raises LegacyUnreadable."""
    try:
        with as_owner(path):
            return path.read_text(encoding="utf-8-sig")  # some editors start a file with a byte order mark
    except OSError as error:
        raise LegacyUnreadable(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise LegacyUnreadable(f"{path} is not a UTF-8 text; check that it is the right file.") from error


def write_json(document: object) -> None:
    """Print a document."""
    print(plain_json(document))


def _fail(code: str, message: str, *, as_json: bool, status: int) -> NoReturn:
    if as_json:
        write_json({"status": "failed", "code": code, "message": message})
    else:
        typer.echo(f"vpnkeys cannot import: {plain_lines(message)}", err=True)
    raise typer.Exit(status)
