"""Saves and restores a PostgreSQL database by its own programs, `pg_dump`, `pg_restore` and `psql`."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, cast
from uuid import uuid4

from sqlalchemy import make_url, text

from vpnkeys.files import sync_directory
from vpnkeys.store.sql.engine import Translated, open_engine
from vpnkeys.store.sql.migrate import current_revision
from vpnkeys.store.sql.opening import backend_of, open_migrated
from vpnkeys.store.sql.soundness import check_database
from vpnkeys.store.transfer.dumped import schemas_in
from vpnkeys.store.transfer.programs import DumpFailed, address_of, call, path_of, run

if TYPE_CHECKING:
    import psycopg

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

_LIKE_THIS_ONE = """SELECT format('CREATE DATABASE %%I TEMPLATE template0 ENCODING %%L LC_COLLATE %%L LC_CTYPE %%L',
    %s::text, pg_encoding_to_char(encoding), datcollate, datctype)
    FROM pg_database WHERE datname = current_database()"""


@dataclass(frozen=True, slots=True)
class _Place:
    """The schema into which a dump is restored, and the statement that makes it, "" where it exists."""

    schema: str
    making: str


def dump(url: str, file: Path) -> int:
    """Save the database in a file that only its owner can read, and return its bytes. Others may write meanwhile.

    Raises DumpFailed, also where there is nothing of ours; StoreUnavailable, OSError. Then there is no file.
    """
    part = file.with_name(f".{file.name}.new")
    _require_postgresql(url)
    _require_ours(url)
    try:
        run(*call(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={part}"))
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
    place = _place_for(url, file)
    if not replace and _has_tables(url, place.schema):
        msg = "the database has tables already; give an empty one, or --replace to replace what is in it"
        raise DumpFailed(msg)
    _restore(url, file, place, first=_DROP if replace else b"")
    return _number_of_keys(url)


def prove(url: str, file: Path) -> int:
    """Restore a file into a database of its own beside this one, migrate it, remove it, and return its keys' number.

    Raises DumpFailed, also where the role may not make a database or a server would not find what was restored;
    StoreUnavailable when the migration fails.
    """
    _require_postgresql(url)
    _place_for(url, file)
    with _scratch(url) as beside:
        load(beside, file)
        open_migrated(beside).dispose()
        return _number_of_keys(beside)


@contextmanager
def _scratch(url: str) -> Iterator[str]:
    """Make an empty database like this one on the same server for the block, and yield its URL."""
    name = f"vpnkeys_trial_{uuid4().hex[:12]}"
    beside = make_url(url).set(database=name).render_as_string(hide_password=False)
    with _administering(url) as connection:
        row: Any = connection.execute(_LIKE_THIS_ONE, (name,)).fetchone()
        connection.execute(row[0].encode())
    try:
        with _administering(url) as connection:
            # What was set for the database alone, and says where its tables are.
            connection.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET search_path FROM CURRENT".encode())
        yield beside
    finally:
        with _administering(url) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@contextmanager
def _administering(url: str) -> "Iterator[psycopg.Connection[Any]]":
    """Yield a connection for statements that no transaction may hold. Raises DumpFailed."""
    import psycopg  # noqa: PLC0415 - only servers on PostgreSQL need it

    address, password = address_of(make_url(url))
    bounded: dict[str, Any] = {"client_encoding": "UTF8", "connect_timeout": 10}
    try:
        with psycopg.connect(address, password=password or None, autocommit=True, **bounded) as connection:
            yield connection
    except psycopg.errors.InsufficientPrivilege as error:
        msg = "the role may not make a database for the trial; allow it: ALTER ROLE ... CREATEDB"
        raise DumpFailed(msg) from error
    except psycopg.Error as error:
        raise DumpFailed(f"the database for the trial cannot be made: {error}") from error


def _require_postgresql(url: str) -> None:
    """Raise DumpFailed for a database that PostgreSQL's programs do not know: none of them is asked then."""
    if backend_of(url) != "postgresql":
        raise DumpFailed("this server's database is not PostgreSQL; `vpnkeys backup` holds it whole")


def _require_ours(url: str) -> None:
    """Raise DumpFailed, or StoreUnavailable, unless a server could start on what is saved."""
    engine = open_engine(url)
    try:
        is_ours = check_database(url) is not None and current_revision(engine) is not None
    finally:
        engine.dispose()
    if not is_ours:
        msg = "the database has no tables of vpnkeys where its user looks for them; give the URL of the server's own"
        raise DumpFailed(msg)


def _place_for(url: str, file: Path) -> _Place:
    """Return where a dump is restored so that a server with this URL finds it. Raises DumpFailed, StoreUnavailable.

    The functions of a dump name their schema, so that it cannot be another one.
    """
    there = schemas_in(file)
    engine = open_engine(url)
    try:
        with Translated(), engine.connect().execution_options(writes=True) as connection, connection.begin() as trying:
            looks = connection.scalar(text("SELECT current_schema()"))
            if looks in there:
                return _Place(looks, "")
            schema = there[0]
            name = engine.dialect.identifier_preparer.quote_identifier(schema)
            making = f"CREATE SCHEMA {name};\n"
            if connection.scalar(text("SELECT to_regnamespace(:name)"), {"name": name}) is None:
                connection.exec_driver_sql(making, execution_options={"no_parameters": True})
                if connection.scalar(text("SELECT current_schema()")) == schema:
                    trying.rollback()
                    return _Place(schema, making)
            trying.rollback()
    finally:
        engine.dispose()
    raise DumpFailed(
        f"the tables of {file} are in the schema {schema}, and this URL's user looks in {looks or 'none'}; set the "
        f"user's search_path to {schema}, by ALTER ROLE or by options=-csearch_path%3D{schema} in the URL"
    )


def _has_tables(url: str, schema: str) -> bool:
    engine = open_engine(url)
    try:
        with Translated(), engine.begin() as connection:
            found = text("SELECT 1 FROM information_schema.tables WHERE table_schema = :schema LIMIT 1")
            return connection.scalar(found, {"schema": schema}) is not None
    finally:
        engine.dispose()


def _number_of_keys(url: str) -> int:
    engine = open_engine(url)
    try:
        with Translated(), engine.begin() as connection:
            return int(connection.scalar(text("SELECT count(*) FROM keys")) or 0)
    finally:
        engine.dispose()


def _restore(url: str, file: Path, place: _Place, *, first: bytes) -> None:
    """Run `first` and the statements of a dump for a schema in one transaction, committed if all were read.

    The schema itself is not among them: it may be there. Raises DumpFailed.
    """
    whole = ("--no-owner", "--no-privileges", f"--schema={place.schema}", "--file=-")
    reading = [path_of("pg_restore"), *whole, str(file)]
    writing, environment = call(url, "psql", "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1")
    with (
        TemporaryFile() as said,
        Popen(reading, stdin=DEVNULL, stdout=PIPE, stderr=said) as reader,
        Popen(writing, env=environment, stdin=PIPE, stdout=DEVNULL, stderr=said) as writer,
    ):
        dumped, statements = cast("IO[bytes]", reader.stdout), cast("IO[bytes]", writer.stdin)
        with suppress(BrokenPipeError), dumped, statements:  # psql ends at the first error
            statements.write(b"BEGIN;\n" + place.making.encode() + first)
            shutil.copyfileobj(dumped, statements)
            if reader.wait() == 0:
                statements.write(b"COMMIT;\n")
        if writer.wait() or reader.wait():
            said.seek(0)
            raise DumpFailed(f"the database cannot be restored: {said.read().decode(errors='replace').strip()}")
