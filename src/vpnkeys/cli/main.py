"""The commands, and how they are found."""

import os
import sys
from collections.abc import Iterable
from importlib import import_module

import typer

from vpnkeys import __version__

_COMMANDS = {
    "serve": ("serve", "serve"),
    "xray": ("xray", "app"),
    "keys": ("keys", "app"),
    "traffic": ("traffic", "app"),
    "status": ("status", "status"),
    "webhooks": ("webhooks", "app"),
    "top": ("top", "top"),
    "tokens": ("tokens", "app"),
    "audit": ("audit", "audit"),
    "sync": ("repairs", "sync"),
    "system": ("system", "app"),
    "backups": ("backups", "app"),
    "metrics": ("metrics", "metrics"),
    "doctor": ("doctor", "doctor"),
    "import": ("imports", "app"),
    "backup": ("backup", "backup"),
    "restore": ("backup", "restore"),
    "install": ("install", "install"),
    "uninstall": ("install", "uninstall"),
    "upgrade": ("install", "upgrade"),
    "upgrade-xray": ("install", "upgrade_xray"),
    "completion": ("completion", "completion"),
}
"""Each command with its module and what stands there for it: a function, or an app of several commands."""


def main() -> None:
    """The entry point.

    Only the module of the command that was asked for is loaded: what serving needs takes most of a second to import,
    and a person who lists keys should not wait for that.
    """
    completed = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")  # zsh and fish; bash
    is_completing = "_VPNKEYS_COMPLETE" in os.environ
    words = completed.split() if is_completing else sys.argv
    asked = words[1] if len(words) > 1 else ""
    known = asked in {*_COMMANDS, "version"} or is_completing
    wanted = [name for name in _COMMANDS if name == asked or not known]
    build_app(wanted, [name for name in _COMMANDS if is_completing and name not in wanted])()


def build_app(names: Iterable[str], only_named: Iterable[str] = ()) -> typer.Typer:
    """The command line with these commands, and with `version`. Of some only the names may be needed, by a shell."""
    app = typer.Typer(name="vpnkeys", no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False)
    app.callback()(_about)  # without it, Typer takes a single command for the whole program
    app.command("version")(version)
    for name in names:
        module, attribute = _COMMANDS[name]
        found = getattr(import_module(f"vpnkeys.cli.commands.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    for name in only_named:
        app.command(name, help=name)(_about)
    return app


def _about() -> None:
    """The server of VPN keys, and the commands that ask it."""


def version() -> None:
    """The version of vpnkeys."""
    print(__version__)
