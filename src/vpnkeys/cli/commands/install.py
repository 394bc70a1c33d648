"""`vpnkeys install`, `uninstall`, `upgrade` and `upgrade-xray`: the services of this host, for root."""

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
        Path | None, typer.Option(envvar="VPNKEYS_XRAY_BIN", help="the Xray to copy; else one is found or fetched")
    ] = None,
) -> None:
    """Install vpnkeys as services of this host, or bring the installation to this source tree; ./run --install.

    May be repeated. Exit codes: 0 done; 1 it did not work, and nothing new is left; 2 wrong command line or settings.
    """
    with _told("install"):
        installing.install(Layout(), source.absolute(), xray, _say)


def uninstall() -> None:
    """Stop and remove the services and programs; keys and settings stay. ./run --uninstall.

    Exit codes: 0 done; 1 it did not work; run it again.
    """
    with _told("uninstall"):
        removing.uninstall(Layout(), _say)


def upgrade(
    source: Annotated[
        Path | None, typer.Argument(help="a newer source tree", show_default="the one it was installed from")
    ] = None,
) -> None:
    """Bring the installation to a newer source tree. No connection of a customer drops.

    Exit codes: 0 done; 1 it did not work, and the old version serves as before; 2 wrong command line or settings.
    """
    with _told("upgrade"):
        installing.upgrade(Layout(), source.absolute() if source else None, _say)


def upgrade_xray(
    wanted: Annotated[
        str, typer.Argument(help="a binary, or a version", show_default="the version this vpnkeys was made with")
    ] = "",
) -> None:
    """Change to another Xray, tried on loopback first. Customers' connections end once.

    Exit codes: 0 done; 1 it did not work, and the old Xray is in use; 2 wrong command line or settings; 3 the server
    does not answer, or no REALITY target can be reached.
    """
    with _told("upgrade Xray"):
        layout = Layout()
        is_other = xrays.upgrade_xray(layout, installing.settings_of(layout), wanted, _say)
        _say("Done: clients get in through the new Xray." if is_other else "This very Xray is in use already.")


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Every failure in words, and the exit code for it."""
    os.umask(0o022)  # the server's user has to read what root installs; what is secret says so by itself
    # Half an upgrade is worse than either: a lost terminal ends nothing, and SIGTERM leaves by the way back.
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
