"""Runs PostgreSQL's own programs, `pg_dump`, `pg_restore` and `psql`.

Passwords go to them by their environment, as other users can see a program's arguments.
"""

import os
import shutil
import subprocess
from pathlib import Path

from sqlalchemy import URL, make_url

from vpnkeys.domain.errors import Rejected

_LONG_S = 3600.0


class DumpFailed(Rejected):
    """Raised when a database could not be saved or restored by PostgreSQL's programs."""

    code = "dump_failed"


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    """Run one of PostgreSQL's programs, and return what it prints. Raises DumpFailed."""
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,  # a question for a password fails instead of waiting for ever
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_LONG_S,
        check=False,
    )
    if done.returncode:
        raise DumpFailed(f"{Path(command[0]).name} failed: {done.stderr.strip() or done.returncode}")
    return done.stdout


def call(url: str, program: str, *options: str) -> tuple[list[str], dict[str, str]]:
    """Return the command of one of PostgreSQL's programs on the database, and its environment. Raises DumpFailed."""
    address, password = address_of(make_url(url))
    secret = {"PGPASSWORD": password} if password else {}
    return [path_of(program), *options, f"--dbname={address}"], os.environ | {"PGCLIENTENCODING": "UTF8"} | secret


def path_of(program: str) -> str:
    """Return the path of one of PostgreSQL's programs. Raises DumpFailed."""
    if (found := shutil.which(program)) is None:
        raise DumpFailed(f"{program} is not installed; on Debian it is in postgresql-client, of the server's version")
    return found


def address_of(url: URL) -> tuple[str, str]:
    """Return the address for libpq without a password, and the password, "" without one."""
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - only servers on PostgreSQL need it

    _, given = url.set(drivername="postgresql+psycopg").get_dialect()().create_connect_args(url)
    password = str(given.pop("password", ""))
    return make_conninfo(
        **{name: str(value) for name, value in given.items() if isinstance(value, str | int)}
    ), password
