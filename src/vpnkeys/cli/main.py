"""The table of commands, and the entry point that loads the one that is called."""

import gc
import os
import sys
from collections.abc import Iterable
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated

import typer

from vpnkeys import __version__
from vpnkeys.cli.program import Program

_COMMANDS = {
    "serve": ("commands.serve", "serve"),
    "xray": ("commands.xray", "app"),
    "keys": ("commands.keys", "app"),
    "subscriptions": ("commands.links", "subscriptions"),
    "traffic": ("commands.traffic", "app"),
    "status": ("commands.status", "status"),
    "nodes": ("commands.nodes", "app"),
    "agent": ("commands.agent", "app"),
    "webhooks": ("commands.webhooks", "app"),
    "top": ("commands.top", "top"),
    "tokens": ("commands.tokens", "app"),
    "audit": ("commands.audit", "audit"),
    "sync": ("commands.repairs", "sync"),
    "system": ("commands.system", "app"),
    "backups": ("commands.backups", "app"),
    "database": ("commands.database", "app"),
    "metrics": ("commands.status", "metrics"),
    "doctor": ("commands.doctor", "doctor"),
    "import": ("commands.imports", "app"),
    "backup": ("commands.backup", "backup"),
    "restore": ("commands.backup", "restore"),
    "install": ("commands.install", "install"),
    "uninstall": ("commands.install", "uninstall"),
    "upgrade": ("commands.install", "upgrade"),
    "upgrade-xray": ("commands.install", "upgrade_xray"),
    "completion": ("completion", "completion"),
    "help": ("connect", "explain"),
}
"""For each command its module, and the function or Typer app in it."""

# What httpx loads when it can be imported, and no command needs: its own command line, with a highlighter of code and
# more of rich, and HTTP/2, which our client does not ask for.
for _needless in ("httpx._main", "httpcore._sync.http2", "httpcore._async.http2"):
    sys.modules.setdefault(_needless, None)  # type: ignore[arg-type] # so Python marks what must not be imported


def main() -> None:
    """Run the command line.

    Only the module of the called command is imported: the imports of `serve` take most of a second, and listing keys
    should not wait for them.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal of another character set shows what it lacks as question marks.
        sys.stdout.reconfigure(errors="replace")
    completed = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")  # zsh and fish; bash
    is_completing = "_VPNKEYS_COMPLETE" in os.environ
    words = completed.split() if is_completing else sys.argv
    asked = words[1] if len(words) > 1 else ""
    known = asked in {*_COMMANDS, "version"} or is_completing
    wanted = [name for name in _COMMANDS if name == asked or not known]
    # What is imported stays until the end: to look for garbage in it takes a fifth of a start, and as long as several
    # requests each time that all objects of a server are looked through.
    gc.disable()
    app = build_app(wanted, [name for name in _COMMANDS if is_completing and name not in wanted])
    gc.freeze()
    gc.enable()
    app()


def build_app(names: Iterable[str], only_named: Iterable[str] = ()) -> typer.Typer:
    """Return the command line with these commands and `version`. `only_named` have names only, for shell completion."""
    # No pretty exceptions: they print local variables, which may hold keys and tokens.
    app = typer.Typer(
        name="vpnkeys", cls=Program, no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False
    )
    app.callback()(_about)  # without it, Typer would make a single command the whole program
    app.command("version")(version)
    for name in names:
        module, attribute = _COMMANDS[name]
        found = getattr(import_module(f"vpnkeys.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    for name in only_named:
        app.command(name, help=name)(_about)
    return app


def _about() -> None:
    """Manage VPN keys: the server, and the commands for it."""


def version(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="also tell what runs here, what it was made of, and which Xray is used")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences; with --check.")] = False,
) -> None:
    """Print the version of vpnkeys.

    Exit codes with --check: 0 the server here is of this version, and its Xray was tried with it; 1 one of them is
    not; 2 wrong settings; 3 the server does not run or does not answer.
    """
    if not check:
        print(__version__)
        return
    # Only here, because it loads what `version` alone does not need.
    from vpnkeys.cli.version import check_version  # noqa: PLC0415

    check_version(as_json=as_json)
