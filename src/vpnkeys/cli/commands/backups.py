"""`vpnkeys backups`: listing, making and downloading the backups on the server."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from vpnkeys.cli.arguments import is_name
from vpnkeys.cli.output.files import secret_file
from vpnkeys.cli.output.tables import human_bytes, short_bytes, table_of
from vpnkeys.cli.remote import EXIT_CODES, Remote, asks_server
from vpnkeys.cli.values import to_second

app = typer.Typer(
    name="backups", no_args_is_help=True, help="List, make and download backups on the server.", epilog=EXIT_CODES
)


@app.command("list")
@asks_server
def list_backups(remote: Remote) -> None:
    """List the backups, newest first."""
    backups = remote.server.backups.list()
    rows = [(one.name, short_bytes(one.size_bytes), to_second(one.created_at)) for one in backups]
    remote.show([one.as_sent() for one in backups], table_of(("Name", ">Size", "Made"), rows))


@app.command("make")
@asks_server
def make(remote: Remote) -> None:
    """Make a backup on the server now, besides the daily ones.

    The server keeps the newest ten, and the first of each of seven days and eight weeks.
    """
    with remote.busy("Making a backup"):
        backup = remote.server.backups.make()
    remote.show(backup.as_sent(), f"{backup.name}: {human_bytes(backup.size_bytes)}")


@app.command("get")
@asks_server
def get(
    remote: Remote,
    name: Annotated[str, typer.Argument(help="The backup's name, as `list` shows it.", callback=is_name)],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write; default: its name, in the current directory."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Download a backup. It holds every secret of the server: keep it as safe as a password."""
    # Only the last part of the name, so that a server cannot choose the directory.
    file = output or Path(Path(name).name)
    with secret_file(file, force=force) as out, remote.server.backups.open(name) as chunks, _progress() as progress:
        task = progress.add_task("", total=None)
        for chunk in chunks:
            out.write(chunk)
            progress.advance(task, len(chunk))
    size = file.stat().st_size
    remote.show({"name": name, "file": str(file), "bytes": size}, f"{file}: {human_bytes(size)}")


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (DownloadColumn(binary_units=True), TransferSpeedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
