"""The commands, and how they are found."""

import sys
from collections.abc import Iterable
from importlib import import_module

import typer

from vpnkeys import __version__

_COMMANDS = {
    "serve": ("serve", "serve"),
    "keys": ("keys", "app"),
    "traffic": ("traffic", "app"),
    "status": ("status", "status"),
    "import": ("importing", "app"),
    "backup": ("backing", "backup"),
    "restore": ("backing", "restore"),
}
"""Each command with its module and what stands there for it: a function, or an app of several commands."""


def main() -> None:
    """The entry point.

    Only the module of the command that was asked for is loaded: what serving needs takes most of a second to import,
    and a person who lists keys should not wait for that.
    """
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    known = asked in {*_COMMANDS, "version"}
    build_app(name for name in _COMMANDS if name == asked or not known)()


def build_app(names: Iterable[str]) -> typer.Typer:
    """The command line with these commands, and with `version`."""
    app = typer.Typer(name="vpnkeys", no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False)
    app.callback()(_about)  # without it, Typer takes a single command for the whole program
    app.command("version")(version)
    for name in names:
        module, attribute = _COMMANDS[name]
        found = getattr(import_module(f"vpnkeys.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def _about() -> None:
    """The server of VPN keys, and the commands that ask it."""


def version() -> None:
    """The version of vpnkeys."""
    print(__version__)
