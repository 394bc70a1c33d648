"""`vpnkeys install`, `uninstall`, `upgrade` and `upgrade-xray`: root manages the services of this host."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from vpnkeys.client import ApiError
from vpnkeys.domain.errors import Unavailable, VpnKeysError
from vpnkeys.install import installing, removing, xrays
from vpnkeys.install.host import InstallFailed, require_systemd_and_root
from vpnkeys.install.layout import Layout
from vpnkeys.settings import SettingsError

_REFUSED, _SETTINGS, _UNAVAILABLE = 1, 2, 3


def install(
    source: Annotated[Path, typer.Argument(help="the source tree", show_default="the present directory")] = Path(),
    xray: Annotated[
        Path | None,
        typer.Option(envvar="VPNKEYS_XRAY_BIN", help="the Xray program to copy; without it, one is found or fetched"),
    ] = None,
) -> None:
    """Install vpnkeys as services of this host, or upgrade the installation to this source tree; as ./run --install.

    It may be repeated. Exit codes: 0 done; 1 it failed, and nothing new is left; 2 wrong command line or settings.
    """
    with _errors_reported("install"):
        installing.install(Layout(), source.absolute(), xray, _say)


def uninstall() -> None:
    """Stop and remove the services and programs; keys and settings stay. The same as ./run --uninstall.

    Exit codes: 0 done; 1 it failed; run it again.
    """
    with _errors_reported("uninstall"):
        removing.uninstall(Layout(), _say)


def upgrade(
    source: Annotated[
        Path | None, typer.Argument(help="a newer source tree", show_default="the one it was installed from")
    ] = None,
) -> None:
    """Upgrade the installation to a newer source tree. No connection of a customer drops.

    Exit codes: 0 done; 1 it failed, and the old version runs as before; 2 wrong command line or settings.
    """
    with _errors_reported("upgrade"):
        installing.upgrade(Layout(), source.absolute() if source else None, _say)


def upgrade_xray(
    wanted: Annotated[
        str, typer.Argument(help="a binary, or a version", show_default="the version this vpnkeys was made with")
    ] = "",
) -> None:
    """Change to another Xray, which is tested on loopback first. Customers' connections end once.

    Exit codes: 0 done; 1 it failed, and the old Xray is in use; 2 wrong command line or settings; 3 the server does not
    answer, or no REALITY target can be reached.
    """
    with _errors_reported("upgrade Xray"):
        layout = Layout()
        is_other = xrays.upgrade_xray(layout, installing.settings_of(layout), wanted, _say)
        _say("Done: clients can connect through the new Xray." if is_other else "This Xray is in use already.")


@contextmanager
def _errors_reported(what: str) -> Iterator[None]:
    """Print failures in the block, and end with their exit codes."""
    os.umask(0o022)  # the server's user has to read what root installs; secret files set their own modes
    # Half an upgrade is worse than none: a lost terminal is ignored, and SIGTERM undoes what was done.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        require_systemd_and_root()
        yield
    except SettingsError as error:
        _fail(what, error, _SETTINGS)
    except (Unavailable, ApiError) as error:
        _fail(what, error, _UNAVAILABLE)
    except VpnKeysError as error:
        _fail(what, error, _REFUSED)
    except OSError as error:
        _fail(what, InstallFailed(str(error)), _REFUSED)


def _fail(what: str, error: Exception, status: int) -> None:
    print(f"vpnkeys cannot {what}: {error}", file=sys.stderr)
    raise typer.Exit(status) from error


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    with suppress(OSError):  # the terminal is gone
        print(line, file=sys.stderr, flush=True)
