"""Saves and restores a PostgreSQL database by its own programs, `pg_dump`, `pg_restore` and `psql`.

Passwords go to these programs by their environment, as other users can see a program's arguments.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from tempfile import TemporaryFile
from typing import IO, cast
from uuid import uuid4

from sqlalchemy import URL, make_url, text

from vpnkeys.domain.errors import Rejected
from vpnkeys.files import sync_directory
from vpnkeys.store.sql.engine import Translated, open_engine
from vpnkeys.store.sql.migrate import current_revision
from vpnkeys.store.sql.opening import backend_of, open_migrated

_LONG_S = 3600.0

# pg_restore's own --clean cannot drop what belongs to partitions, and would leave tables that the dump does not know.
_DROP = b"""SET LOCAL client_min_messages = warning;
DO $$ DECLARE one text; BEGIN
FOR one IN SELECT oid::regclass FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
LOOP EXECUTE 'DROP TABLE ' || one || ' CASCADE'; END LOOP;
FOR one IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
LOOP EXECUTE 'DROP ROUTINE ' || one || ' CASCADE'; END LOOP;
END $$;
"""
"""Drops all tables and functions of the schema but those of extensions."""


class DumpFailed(Rejected):
    """Raised when a database could not be saved or restored by PostgreSQL's programs."""

    code = "dump_failed"


def dump(url: str, file: Path) -> int:
    """Save the database in a file that only its owner can read, and return its bytes. Others may write meanwhile.

    Raises DumpFailed, OSError; then there is no file.
    """
    part = file.with_name(f".{file.name}.new")
    _require_postgresql(url)
    try:
        _run(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={part}")
        part.chmod(0o600)
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(file)
        sync_directory(file.parent)
    finally:
        part.unlink(missing_ok=True)
    return file.stat().st_size


def load(url: str, file: Path, *, replace: bool = False) -> int:
    """Restore the database from a file, completely or not at all; return the number of its keys.

    What is there is replaced only with `replace`. Raises DumpFailed, StoreUnavailable, OSError.
    """
    _require_postgresql(url)
    if not file.is_file():
        raise DumpFailed(f"there is no file {file}")
    if not replace and _has_tables(url):
        msg = "the database has tables already; give an empty one, or --replace to replace what is in it"
        raise DumpFailed(msg)
    _restore(url, file, first=_DROP if replace else b"")
    return _number_of_keys(url)


def prove(url: str, file: Path) -> int:
    """Restore a file into a database of its own beside this one, migrate it, remove it, and return its keys' number.

    Raises DumpFailed, also where the role may not make a database; StoreUnavailable when the migration fails.
    """
    _require_postgresql(url)
    with _scratch(url) as beside:
        load(beside, file)
        open_migrated(beside).dispose()
        return _number_of_keys(beside)


@contextmanager
def _scratch(url: str) -> Iterator[str]:
    """Make an empty database on the same server for the block, and yield its URL."""
    name = f"vpnkeys_trial_{uuid4().hex[:12]}"
    beside = make_url(url).set(database=name).render_as_string(hide_password=False)
    _administer(url, f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield beside
    finally:
        _administer(url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _administer(url: str, statement: str) -> None:
    """Run a statement that no transaction may hold. Raises DumpFailed."""
    import psycopg  # noqa: PLC0415 - only servers on PostgreSQL need it

    address, password = _address_of(make_url(url))
    try:
        with psycopg.connect(address, password=password or None, autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege as error:
        msg = "the role may not make a database for the trial; allow it: ALTER ROLE ... CREATEDB"
        raise DumpFailed(msg) from error
    except psycopg.Error as error:
        raise DumpFailed(f"the database for the trial cannot be made: {error}") from error


def _require_postgresql(url: str) -> None:
    """Raise DumpFailed for a database that PostgreSQL's programs do not know: none of them is asked then."""
    if backend_of(url) != "postgresql":
        raise DumpFailed("this server's database is not PostgreSQL; `vpnkeys backup` holds it whole")


def _has_tables(url: str) -> bool:
    engine = open_engine(url)
    try:
        with Translated(), engine.begin() as connection:
            found = text("SELECT 1 FROM information_schema.tables WHERE table_schema = current_schema() LIMIT 1")
            return connection.scalar(found) is not None
    finally:
        engine.dispose()


def ports_in(url: str) -> tuple[int, ...] | None:
    """Return the ports of the keys in a database, lowest first; None when it has no tables."""
    engine = open_engine(url)
    try:
        if current_revision(engine) is None:
            return None
        with Translated(), engine.begin() as connection:
            return tuple(connection.scalars(text("SELECT port FROM keys ORDER BY port")))
    finally:
        engine.dispose()


def _number_of_keys(url: str) -> int:
    return len(ports_in(url) or ())


def _run(url: str, program: str, *options: str) -> None:
    """Run one of PostgreSQL's programs on the database. Raises DumpFailed."""
    command, environment = _call(url, program, *options)
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
        raise DumpFailed(f"{program} failed: {done.stderr.strip() or done.returncode}")


def _restore(url: str, file: Path, *, first: bytes) -> None:
    """Run `first` and all statements of a dump in one transaction, committed if all were read. Raises DumpFailed."""
    reading = [_found("pg_restore"), "--no-owner", "--no-privileges", "--file=-", str(file)]
    writing, environment = _call(url, "psql", "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1")
    with (
        TemporaryFile() as said,
        Popen(reading, stdin=DEVNULL, stdout=PIPE, stderr=said) as reader,
        Popen(writing, env=environment, stdin=PIPE, stdout=DEVNULL, stderr=said) as writer,
    ):
        dumped, statements = cast("IO[bytes]", reader.stdout), cast("IO[bytes]", writer.stdin)
        with suppress(BrokenPipeError), dumped, statements:  # psql ends at the first error
            statements.write(b"BEGIN;\n" + first)
            shutil.copyfileobj(dumped, statements)
            if reader.wait() == 0:
                statements.write(b"COMMIT;\n")
        if writer.wait() or reader.wait():
            said.seek(0)
            raise DumpFailed(f"the database cannot be restored: {said.read().decode(errors='replace').strip()}")


def _call(url: str, program: str, *options: str) -> tuple[list[str], dict[str, str]]:
    """Return the command of one of PostgreSQL's programs on the database, and its environment. Raises DumpFailed."""
    address, password = _address_of(make_url(url))
    secret = {"PGPASSWORD": password} if password else {}
    return [_found(program), *options, f"--dbname={address}"], os.environ | secret


def _found(program: str) -> str:
    """Return the path of one of PostgreSQL's programs. Raises DumpFailed."""
    if (found := shutil.which(program)) is None:
        raise DumpFailed(f"{program} is not installed; on Debian it is in postgresql-client, of the server's version")
    return found


def _address_of(url: URL) -> tuple[str, str]:
    """Return the address for libpq without a password, and the password, "" without one."""
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - as above

    _, given = url.set(drivername="postgresql+psycopg").get_dialect()().create_connect_args(url)
    password = str(given.pop("password", ""))
    return make_conninfo(
        **{name: str(value) for name, value in given.items() if isinstance(value, str | int)}
    ), password
