"""`vpnkeys xray run`: starts Xray for a supervisor, which keeps it running independently of the server."""

import os
import sys
from pathlib import Path

import typer

from vpnkeys.domain.errors import VpnKeysError
from vpnkeys.owner import NotOurs, leave_root
from vpnkeys.rundir import memory_dir, run_dir
from vpnkeys.settings import ENVIRONMENT, Settings, SettingsError, load_settings, set_data_dir
from vpnkeys.store.files.stop_journal import FileStopJournal
from vpnkeys.xray.config.check import xray_checker
from vpnkeys.xray.config.document import BaseConfig
from vpnkeys.xray.config.pieces import JsonObject
from vpnkeys.xray.config.start import StartFile
from vpnkeys.xray.host.guard import Guard, Policy, mark_of, table_of
from vpnkeys.xray.process.binary import obtain
from vpnkeys.xray.process.child import command_line
from vpnkeys.xray.process.launch import Launcher, marks, sockets_in, xray_environment

app = typer.Typer(name="xray", no_args_is_help=True, help="Xray as a service of its own.")


@app.callback()
def _about() -> None:
    """Xray as a service of its own."""


@app.command("run")
def run() -> None:
    """Replace this process by Xray, once the server has written config.json; for VPNKEYS_XRAY_SUPERVISOR=systemd.

    The server can then be restarted without ending connections. The supervisor has to start this command again when it
    ends, as systemd does with Restart=always, as the same user and with the same settings as the server.

    Exit codes: Xray's own; 1 Xray cannot be started; 2 wrong command line or settings.
    """
    os.umask(0o077)  # Xray creates its sockets with this mask
    try:
        leave_root(set_data_dir())
        settings = _settings()
        xray = obtain(settings.xray_bin, _say).path
        config = _launcher(settings, xray).prepare()
    except (SettingsError, NotOurs) as error:
        _say(f"Xray cannot start:\n{error}")
        raise typer.Exit(2) from error
    except (VpnKeysError, OSError) as error:
        _say(f"Xray cannot start: {error}")
        raise typer.Exit(1) from error
    _become(xray, config, settings)


def _settings() -> Settings:
    settings = load_settings()
    if settings.xray_supervisor == "vpnkeys":
        msg = "VPNKEYS_XRAY_SUPERVISOR: the server runs Xray by itself; set it to systemd, for both"
        raise SettingsError(msg)
    return settings


def _launcher(settings: Settings, xray: Path) -> Launcher:
    data_dir = settings.data_dir
    mark, journal = mark_of(data_dir), FileStopJournal(data_dir)

    def base_for(document: JsonObject) -> BaseConfig:
        from vpnkeys.ops.base_config import base_config  # noqa: PLC0415 - 0.2 s of imports, only after a quick exit

        return base_config(settings, mark if marks(document, mark) else None)

    return Launcher(
        data_dir,
        sockets_in(run_dir(data_dir), len(settings.reality_server_names)),
        Guard(table_of(data_dir), Policy(mark, settings.egress_allow, settings.panel_port)),
        StartFile(data_dir / "config.json", base_for, xray_checker(xray, _say), _say, stopped=journal.stopped_tags),
        _say,
        memory_dir(ENVIRONMENT),
    )


def _become(xray: Path, config: Path, settings: Settings) -> None:
    try:
        # exec keeps the process id, so that the supervisor's main process is Xray itself.
        os.execve(xray, command_line(xray, config), xray_environment(settings.xray_ca_file))  # noqa: S606 - no shell is meant
    except OSError as error:
        _say(f"Xray cannot start: {xray}: {error.strerror}")
        raise typer.Exit(1) from error


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
