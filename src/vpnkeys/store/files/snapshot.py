"""Read what is stored without leaving a trace.

Not even opening an SQLite database read-only is free of them: a reader of a database in WAL mode makes files beside it,
and the last one to close it may rewrite it. So the database is copied, with the log or journal that belongs to it, and
the copy is opened.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import DatabaseError

from vpnkeys.domain.errors import KeyPairDamaged, StoreUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.reality import KeyPair
from vpnkeys.files import Mark
from vpnkeys.store.files.secrets import REALITY_FILE
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import current_revision, migrate
from vpnkeys.store.sql.store import SqlStore

_COMPANIONS = ("", "-wal", "-journal")
_ATTEMPTS, _PAUSE_S = 20, 0.1


@contextmanager
def snapshot(database: Path) -> Iterator[Path]:
    """A copy of a database file as it was at one moment; it lives as long as the block.

    Raises StoreUnavailable when somebody writes to it all the time, OSError when it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="vpnkeys-") as directory:
        copy = Path(directory) / "copy.db"
        for _ in range(_ATTEMPTS):
            before = _state(database)
            _copy(database, copy)
            if _state(database) == before:
                break
            time.sleep(_PAUSE_S)
        else:
            msg = f"{database} is being written to without a pause; stop the server that does, and try again."
            raise StoreUnavailable(msg)
        yield copy


def peek_keys(database_url: str) -> tuple[Key, ...]:
    """The keys of our own database, of whatever version, without touching it; none when it is not there."""
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite" or url.database is None:
        return _keys(database_url, may_migrate=False)
    database = Path(url.database)
    if not database.exists():
        return ()
    with snapshot(database) as copy:
        return _keys(f"sqlite:///{copy}", may_migrate=True)


def peek_key_pair(data_dir: Path) -> KeyPair | None:
    """The stored REALITY key pair, if there is one, as its private key says it. Raises KeyPairDamaged."""
    path = data_dir / REALITY_FILE
    try:
        return KeyPair.of_private(json.loads(path.read_bytes())["private_key"])
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError) as error:
        msg = f"{path} cannot be read or is damaged; restore it from a backup, or remove it where no key is in use yet."
        raise KeyPairDamaged(msg) from error


def _keys(url: str, *, may_migrate: bool) -> tuple[Key, ...]:
    engine = open_engine(url)
    try:
        if may_migrate:
            migrate(engine)
        elif current_revision(engine) is None:
            return ()
        store = SqlStore(engine)
        try:
            return store.keys()
        finally:
            store.close()
    except DatabaseError as error:
        msg = f"The database cannot be read: {error.orig}. Start vpnkeys once, so that it is brought up to date."
        raise StoreUnavailable(msg) from error
    finally:
        engine.dispose()


def _state(database: Path) -> list[Mark | None]:
    """What changes whenever one of the files is written to."""
    return [Mark.at(database.with_name(database.name + end)) for end in _COMPANIONS]


def _copy(database: Path, copy: Path) -> None:
    for end in _COMPANIONS:
        source, target = database.with_name(database.name + end), copy.with_name(copy.name + end)
        try:
            shutil.copyfile(source, target)
        except FileNotFoundError:
            if not end:
                raise
            target.unlink(missing_ok=True)
