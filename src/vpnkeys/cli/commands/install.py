"""`vpnkeys install`, `uninstall`, `upgrade` and `upgrade-xray`: root manages the services of this host."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from vpnkeys.cli.arguments import Yes
from vpnkeys.cli.domain import Domain
from vpnkeys.cli.output.losses import losses_in_words
from vpnkeys.cli.output.plain import plain
from vpnkeys.cli.output.progress import Progress
from vpnkeys.cli.remote import can_ask
from vpnkeys.client import ApiError
from vpnkeys.domain.errors import Unavailable, VpnKeysError
from vpnkeys.install import installing, removing, reverting, xrays
from vpnkeys.install.host import InstallFailed, require_systemd_and_root
from vpnkeys.install.layout import Layout
from vpnkeys.install.reverting import Reversion
from vpnkeys.settings import SettingsError

_REFUSED, _SETTINGS, _UNAVAILABLE = 1, 2, 3


def install(
    source: Annotated[Path, typer.Argument(help="the source tree", show_default="the present directory")] = Path(),
    xray: Annotated[
        Path | None,
        typer.Option(envvar="VPNKEYS_XRAY_BIN", help="the Xray program to copy; without it, one is found or fetched"),
    ] = None,
    domain: Domain = None,
    *,
    without_nftables: Annotated[
        bool, typer.Option("--without-nftables", help="install on a host that has no nftables")
    ] = False,
    yes: Yes = False,  # noqa: ARG001 - it asks nothing; scripts may say so all the same
) -> None:
    """Install vpnkeys as services of this host, or upgrade the installation to this source tree; as ./run --install.

    It may be repeated. Exit codes: 0 done; 1 it failed, and nothing new is left; 2 wrong command line or settings.
    """
    with errors_reported("install") as progress:
        where, name = source.absolute(), domain or ""
        installing.install(Layout(), where, xray, progress.say, name, without_nftables=without_nftables)


def uninstall() -> None:
    """Stop and remove the services and programs; keys and settings stay. The same as ./run --uninstall.

    Exit codes: 0 done; 1 it failed; run it again.
    """
    with errors_reported("uninstall") as progress:
        removing.uninstall(Layout(), progress.say)


def upgrade(
    source: Annotated[
        Path | None, typer.Argument(help="a newer source tree", show_default="the one it was installed from")
    ] = None,
    back: Annotated[
        bool, typer.Option("--back", help="go back to the release before, with the data of then if it needs them")
    ] = False,
    yes: Yes = False,
) -> None:
    """Upgrade the installation to a newer source tree, or go back. No connection of a customer drops.

    Before it goes back it says what will be lost, and asks on a terminal. Exit codes: 0 done; 1 it failed or was not
    approved, and the present version runs as before; 2 wrong command line or settings.
    """
    with errors_reported("go back" if back else "upgrade") as progress:
        if not back:
            installing.upgrade(Layout(), source.absolute() if source else None, progress.say)
            return
        if source is not None:
            raise SettingsError("--back takes no source tree: it goes back to the release that is kept here")
        reverting.go_back(Layout(), progress.say, lambda wanted: _approve(wanted, progress, yes=yes))


def _approve(wanted: Reversion, progress: Progress, *, yes: bool) -> None:
    """Say what going back will do, and ask on a terminal, unless `yes`."""
    name = f"vpnkeys {wanted.release.version} ({wanted.release.directory.name})"
    if wanted.losses is None:
        progress.say(f"{name} can use the present data: nothing is lost.")
    else:
        progress.say(f"{name} cannot use the present data. Those of {wanted.losses.since} come back, and this is lost:")
        for line in losses_in_words(wanted.losses):
            progress.say(f"  {plain(line)}")
    if not yes and can_ask():
        progress.rest()
        typer.confirm("Go back?", abort=True, err=True)


def upgrade_xray(
    wanted: Annotated[
        str, typer.Argument(help="a binary, or a version", show_default="the version this vpnkeys was made with")
    ] = "",
    *,
    force: Annotated[
        bool, typer.Option("--force", help="also a version that was not tried, if clients get in when it is tested")
    ] = False,
) -> None:
    """Change to another Xray, which is tested on loopback first. Customers' connections end once.

    Exit codes: 0 done; 1 it failed, and the old Xray is in use; 2 wrong command line or settings; 3 the server does not
    answer, or no REALITY target can be reached.
    """
    with errors_reported("upgrade Xray") as progress:
        layout = Layout()
        is_other = xrays.upgrade_xray(layout, installing.settings_of(layout), wanted, progress.say, force=force)
        progress.say("Done: clients can connect through the new Xray." if is_other else "This Xray is in use already.")


@contextmanager
def errors_reported(what: str) -> Iterator[Progress]:
    """Yield what prints the lines of the block. Failures are printed, and end the command with their exit codes."""
    os.umask(0o022)  # the server's user has to read what root installs; secret files set their own modes
    # Half an upgrade is worse than none: a lost terminal is ignored, and SIGTERM undoes what was done.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        require_systemd_and_root()
        with Progress() as progress:
            yield progress
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
