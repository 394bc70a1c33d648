"""`vpnkeys doctor`: the checks of the server and its host, with a repair command for each problem."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vpnkeys.cli.failures import wrong_usage
from vpnkeys.cli.output.operations import in_commands
from vpnkeys.cli.output.plain import Plain, plain_json
from vpnkeys.doctor import Finding, Level, examine, find_data_dir, find_installation, worst
from vpnkeys.owner import NotOurs, leave_root
from vpnkeys.settings import SettingsError

_FAILED, _NOT_RUNNING = 1, 3
_PIPE_WIDTH = 200
_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    self_test: Annotated[
        bool, typer.Option("--self-test/--no-self-test", help="Make a key, send bytes through it, delete it.")
    ] = True,
) -> None:
    """Check the server of this machine and its host; each problem is shown with the command that repairs it.

    Nothing is changed, except that the self-test makes a key and deletes it again. While the server does not run, only
    the checks that do not need it are made.

    Exit codes: 0 nothing failed, warnings aside; 1 something failed; 2 wrong command line or settings; 3 the server
    does not run or does not answer.
    """
    try:
        leave_root(find_data_dir())
        with find_installation() as installation:
            found = examine(installation, self_test=self_test)
            findings = tuple(replace(one, message=in_commands(one.message)) for one in found)
            is_running = installation.server is not None
    except (SettingsError, NotOurs, PermissionError) as error:
        wrong_usage(str(error))
    if as_json:
        document = {"status": worst(findings), "running": is_running, "findings": [asdict(one) for one in findings]}
        print(plain_json(document))
    else:
        _console().print(Plain(_table(findings)))
    if not is_running:
        raise typer.Exit(_NOT_RUNNING)
    if worst(findings) is Level.FAIL:
        raise typer.Exit(_FAILED)


def _console() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, emoji=False, width=_PIPE_WIDTH)


def _table(findings: Iterable[Finding]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("Check", "", "Finding", "Mend"):
        table.add_column(title, overflow="fold")
    for finding in findings:
        level = Text(finding.level, style=_STYLES[finding.level])
        table.add_row(finding.check, level, Text(finding.message), Text(finding.mend))
    return table
