"""Fills a database of another kind with all that one has, and marks that one as moved.

The target becomes the database in one commit, after every row was compared; until then the source is what it was, and
an interruption leaves an empty target. The source is marked then, so that no server writes to it any more by mistake.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, make_url, select, text

from vpnkeys.files import sync_directory
from vpnkeys.store.files.backup import COMPANIONS
from vpnkeys.store.sql.engine import Translated, open_engine
from vpnkeys.store.sql.faults import MOVED
from vpnkeys.store.sql.migrate import HEAD, current_revision, mark_moved, migrate
from vpnkeys.store.sql.nodes.tables import leases
from vpnkeys.store.sql.opening import backend_of, sqlite_file
from vpnkeys.store.sql.tables import metadata
from vpnkeys.store.transfer.copying import Copied, MoveRefused, copy_all
from vpnkeys.store.url import parse_database_url

_BEAT_WITHIN_S, _TAKEN_OVER_WITHIN_S = 4.0, 14.0
"""A control plane beats at least once in that time; one that finds the leases of a dead one, in this (ADR 29)."""
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Transferred:
    """A database that was moved, and for how many seconds nobody could write to it."""

    tables: tuple[Copied, ...]
    pause_s: float


def transfer(source_url: str, target_url: str, aside: Path) -> Transferred:
    """Copy all data to the database of `target_url`. A file that is replaced there is kept in the directory `aside`.

    Raises MoveRefused, StoreUnavailable or OSError; then the source is as it was, and the target has nothing.
    """
    with _opened(source_url) as source, _target(target_url, aside) as target:
        _refuse_while_served(source)
        migrate(target.engine)
        started = time.monotonic()
        with Translated(), source.connect().execution_options(writes=True, unhurried=True) as reading, reading.begin():
            _hold_writers(reading)
            with target.engine.connect().execution_options(writes=True, unhurried=True) as writing, writing.begin():
                _take_time(writing)
                tables = copy_all(reading, writing)
            target.take_over()
            mark_moved(reading, backend_of(target_url))
        return Transferred(tables, time.monotonic() - started)


def target_of(text: str, source_url: str) -> str:
    """Return the URL of the database to move to. Raises MoveRefused unless one is SQLite and the other PostgreSQL."""
    try:
        target_url = parse_database_url(text)
    except ValueError as error:
        raise MoveRefused(f"the URL: {error}") from error
    kinds = backend_of(source_url), backend_of(target_url)
    if set(kinds) != {"sqlite", "postgresql"}:
        msg = (
            f"this is a database of {kinds[0]} and that one of {kinds[1]}; a move is from SQLite to PostgreSQL or back"
        )
        raise MoveRefused(msg)
    return target_url


def from_anywhere(url: str) -> str:
    """Return a URL that means the same in every directory: a file of SQLite has an absolute path in it."""
    file = sqlite_file(url)
    return url if file is None else make_url(url).set(database=f"{file}").render_as_string(hide_password=False)


def without_password(url: str) -> str:
    """Return a URL as it may be shown."""
    return make_url(url).render_as_string(hide_password=True)


@contextmanager
def _opened(url: str) -> Iterator[Engine]:
    """Open the source for the block. Raises MoveRefused when it is not of this version."""
    file = sqlite_file(url)
    if file is not None and not file.is_file():
        raise MoveRefused(f"there is no database {file}; start the server once (vpnkeys serve)")
    engine = open_engine(url)
    try:
        if (revision := current_revision(engine)) != HEAD:
            msg = (
                f"the database is at version {revision or 'none'} and not {HEAD}; start the server once (vpnkeys serve)"
            )
            raise MoveRefused(msg)
        yield engine
    finally:
        engine.dispose()


@dataclass(frozen=True, slots=True)
class _Target:
    """The database that is filled: on PostgreSQL itself, of SQLite a file beside its place."""

    engine: Engine
    building: Path | None = None
    place: Path | None = None
    aside: Path | None = None

    def take_over(self) -> None:
        """Bring a file that is complete to its place, durably; what is there is kept."""
        if self.building is None or self.place is None or self.aside is None:
            return
        self.engine.dispose()  # the last connection to close puts its log into the file
        if self.place.exists():
            self.aside.mkdir(mode=0o700, parents=True)
            for end in (*COMPANIONS, ""):
                old = self.place.with_name(self.place.name + end)
                if old.exists():
                    old.rename(self.aside / old.name)
        self.building.rename(self.place)
        sync_directory(self.place.parent)


@contextmanager
def _target(url: str, aside: Path) -> Iterator[_Target]:
    place = sqlite_file(url)
    if place is None:
        engine = open_engine(url)
        try:
            yield _Target(engine)
        finally:
            engine.dispose()
        return
    _refuse_file_in_use(place)
    building = place.with_name(f".{place.name}.moving")
    _remove(building)
    engine = open_engine(f"sqlite:///{building}")
    try:
        yield _Target(engine, building, place, aside)
    finally:
        engine.dispose()
        _remove(building)


def _refuse_file_in_use(place: Path) -> None:
    """Raise MoveRefused where there is a database that was not moved away itself."""
    if not place.exists():
        return
    engine = open_engine(f"sqlite:///{place}")
    try:
        with Translated(), engine.connect() as connection, connection.begin():
            if _was_moved(connection):
                return
    finally:
        engine.dispose()
    msg = f"{place} is a database already; move it away, or give another path"
    raise MoveRefused(msg)


def _was_moved(connection: Connection) -> bool:
    found = connection.execute(text("SELECT name FROM sqlite_master WHERE name = 'alembic_version'")).first()
    version = None if found is None else connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version is not None and str(version).startswith(MOVED)


def _refuse_while_served(source: Engine) -> None:
    """Raise MoveRefused while a control plane works on a PostgreSQL database: it would wait in vain afterwards.

    Only leases tell so: a pooler keeps its connections when nobody is there any more. A SQLite file has no second one.
    """
    if source.dialect.name != "postgresql":
        return
    began = time.monotonic()
    first = last = _leases(source)
    while time.monotonic() - began < (_TAKEN_OVER_WITHIN_S if last else _BEAT_WITHIN_S):
        time.sleep(_LOOK_EVERY_S)
        last = _leases(source)
        if last - first:
            msg = "a control plane works on this database; stop all of them first, on each machine"
            raise MoveRefused(msg)


def _leases(source: Engine) -> set[tuple[object, ...]]:
    with Translated(), source.begin() as connection:
        return {tuple(row) for row in connection.execute(select(leases))}


def _hold_writers(source: Connection) -> None:
    """Keep all others from writing to the source until its transaction ends; on SQLite that one does so by itself."""
    if source.dialect.name == "postgresql":
        _take_time(source)
        names = ", ".join(table.name for table in metadata.sorted_tables)
        source.execute(text(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"))


def _take_time(connection: Connection) -> None:
    """Let statements of this transaction take as long as it takes: a history has many rows."""
    if connection.dialect.name == "postgresql":
        # A transaction waits idle here for as long as the other one works.
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def _remove(building: Path) -> None:
    for end in ("", *COMPANIONS):
        building.with_name(building.name + end).unlink(missing_ok=True)
