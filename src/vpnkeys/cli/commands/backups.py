"""`vpnkeys backups`: the backups that the server keeps, from anywhere."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Annotated

import typer
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from vpnkeys.cli.arguments import is_name
from vpnkeys.cli.output.tables import human_bytes, short_bytes, table_of, to_second
from vpnkeys.cli.remote import EXIT_CODES, Session, asks_server, refused

app = typer.Typer(
    name="backups", no_args_is_help=True, help="The backups that the server keeps, from anywhere.", epilog=EXIT_CODES
)


@app.command("list")
@asks_server
def list_backups(session: Session) -> None:
    """The backups that there are, newest first."""
    backups = session.server.backups.list()
    rows = [(one.name, short_bytes(one.size_bytes), to_second(one.created_at)) for one in backups]
    session.tell([one.as_sent() for one in backups], table_of(("Name", ">Size", "Made (UTC)"), rows))


@app.command("make")
@asks_server
def make(session: Session) -> None:
    """Make a backup now, on the server, beside the daily ones; the oldest beyond ten goes."""
    with session.busy("Making a backup"):
        backup = session.server.backups.make()
    session.tell(backup.as_sent(), f"{backup.name}: {human_bytes(backup.size_bytes)}")


@app.command("get")
@asks_server
def get(
    session: Session,
    name: Annotated[str, typer.Argument(help="Its name, as `list` shows it.", callback=is_name)],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to put it; default: here, under its name.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Fetch a backup. It holds every secret of the server: keep it as you keep a password."""
    file = output or Path(Path(name).name)
    if file.exists() and not force:
        refused(f"{file} is there already; give --force, or another name with --output")
    with _written(file) as out, session.server.backups.open(name) as chunks, _progress() as progress:
        task = progress.add_task("", total=None)
        for chunk in chunks:
            out.write(chunk)
            progress.advance(task, len(chunk))
    size = file.stat().st_size
    session.tell({"name": name, "file": str(file), "bytes": size}, f"{file}: {human_bytes(size)}")


@contextmanager
def _written(file: Path) -> Iterator[IO[bytes]]:
    """A file for its owner alone, which is there when it is whole, and not before."""
    try:
        with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as out:
            part = Path(out.name)
            try:
                yield out
                out.flush()
                os.fsync(out.fileno())
                part.replace(file)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        refused(f"{file} cannot be written: {error.strerror}")


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (DownloadColumn(binary_units=True), TransferSpeedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
