"""`vpnkeys database`: moving the data to another kind of database, migrating it, saving one of PostgreSQL."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import orjson
import typer

from vpnkeys.cli.output.plain import plain_lines
from vpnkeys.cli.output.tables import human_bytes
from vpnkeys.domain.errors import StoreUnavailable, VpnKeysError
from vpnkeys.ops.backup import take_whole
from vpnkeys.ops.move import Moved, move_database
from vpnkeys.owner import as_owner
from vpnkeys.settings import SettingsError, load_settings
from vpnkeys.store.sql.opening import bring_up_to_date
from vpnkeys.store.transfer.dump import dump as save
from vpnkeys.store.transfer.dump import load as restore
from vpnkeys.store.transfer.dump import prove

app = typer.Typer(name="database", no_args_is_help=True, help="Move, migrate, save and restore the database.")

_REFUSED, _SETTINGS = 1, 2

_File = Annotated[Path, typer.Argument(help="the file of `vpnkeys database dump`", show_default=False)]
_Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command("move")
def move(
    url: Annotated[
        str,
        typer.Argument(help="postgresql://USER@HOST/DATABASE, which is empty, or sqlite:///PATH", show_default=False),
    ],
    as_json: _Json = False,
) -> None:
    """Move all data to another database, from SQLite to PostgreSQL or back; stop the server first.

    Every row is compared before the new database is used. Other users of this machine can see the URL while the
    command runs: leave the password out and name a file with it, `?passfile=/var/lib/vpnkeys/pgpass`.

    Exit codes: 0 done; 1 refused or failed: the data are where they were; 2 wrong command line or settings, or the
    server runs.
    """
    with _errors_reported("move the database", as_json=as_json):
        moved = move_database(load_settings(), url)
    _report(moved, as_json=as_json)


@app.command("migrate")
def migrate(as_json: _Json = False) -> None:
    """Make the tables of the database that is set, or bring them to this version; stop the server first.

    A server does this itself at its start, if its role may. Exit codes: 0 done; 1 it failed, and nothing was changed; 2
    wrong settings, or the server runs.
    """
    with _errors_reported("migrate the database", as_json=as_json):
        settings = load_settings()
        with as_owner(settings.data_dir), take_whole(settings.data_dir):
            revision = bring_up_to_date(settings.database_url)
    _say({"status": "migrated", "version": revision}, f"the database is at version {revision}", as_json=as_json)


@app.command("dump")
def dump(file: _File, as_json: _Json = False) -> None:
    """Save a PostgreSQL database in one file, by pg_dump; the server may run. The data directory is not in it.

    The file is not encrypted. Exit codes: 0 done; 1 it failed, and there is no file; 2 wrong settings.
    """
    with _errors_reported("save the database", as_json=as_json):
        size = save(load_settings().database_url, file)
    _say({"status": "written", "file": str(file), "bytes": size}, f"{file}: {human_bytes(size)}", as_json=as_json)


@app.command("load")
def load(
    file: _File,
    replace: Annotated[bool, typer.Option("--replace", help="drop all that its schema has first")] = False,
    trial: Annotated[
        bool, typer.Option("--trial", help="only try it, in a database of its own that is removed again")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Restore a PostgreSQL database from a file, completely or not at all; stop the server first.

    Key pair and settings are files of the data directory. With --trial the server may run, and the role needs the right
    CREATEDB. Exit codes: 0 done; 1 refused or failed, and nothing was changed; 2 wrong settings, or the server
    runs.
    """
    with _errors_reported("restore the database", as_json=as_json):
        settings = load_settings()
        if trial:
            keys = prove(settings.database_url, file)
        else:
            # Not as the owner: PostgreSQL's programs, which are started here, could become root again.
            with take_whole(settings.data_dir):
                keys = restore(settings.database_url, file, replace=replace)
    status = "proven" if trial else "restored"
    _say({"status": status, "file": str(file), "keys": keys}, f"{file} is {status}, with {keys} keys", as_json=as_json)


@contextmanager
def _errors_reported(what: str, *, as_json: bool) -> Iterator[None]:
    """Print failures in the block as one line or one JSON document, and end with their exit codes."""
    os.umask(0o077)  # SQLite and pg_dump make their files with this mask
    try:
        yield
    except SettingsError as error:
        code, message, status = "settings", str(error), _SETTINGS
    except StoreUnavailable as error:
        code, message, status = error.code, f"{error}", _REFUSED
    except VpnKeysError as error:
        code, message, status = error.code, f"{error}; nothing was changed", _REFUSED
    except OSError as error:
        code, message, status = "unwritable", f"{error}; nothing was changed", _REFUSED
    except Exception as error:  # noqa: BLE001 - a person gets a sentence and no traceback
        code, message, status = "unexpected", _in_one_line(error), _REFUSED
    else:
        return
    if as_json:
        _write_json({"status": "failed", "code": code, "message": message})
    else:
        typer.echo(f"vpnkeys cannot {what}: {plain_lines(message)}", err=True)
    raise typer.Exit(status)


def _in_one_line(error: Exception) -> str:
    """Return what an error says that is a fault of ours, or a value that a database should not have."""
    cause = getattr(error, "orig", None) or error  # the driver's, as SQLAlchemy's quotes the statement and its rows
    first = str(cause).strip().partition("\n")[0]
    return f"an error that vpnkeys does not know, {type(cause).__name__}: {first}; report it to its maintainers"


def _report(moved: Moved, *, as_json: bool) -> None:
    rows = {table.table: table.rows for table in moved.tables}
    next_step = (
        f"vpnkeys.env names {moved.url}; start the server"
        if moved.is_set
        else f"set VPNKEYS_DATABASE_URL={moved.url} where the setting is now, with the password if it has one; then "
        "start the server"
    )
    document = {"status": "moved", "rows": rows, "pause_s": round(moved.pause_s, 3), "next": next_step}
    lines = [f"{table}: {count} rows, compared" for table, count in rows.items()]
    _say(
        document,
        "\n".join([*lines, f"Nobody could write for {moved.pause_s:.1f} s. Next: {next_step}."]),
        as_json=as_json,
    )


def _say(document: dict[str, object], text: str, *, as_json: bool) -> None:
    if as_json:
        _write_json(document)
    else:
        print(text)


def _write_json(document: dict[str, object]) -> None:
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
