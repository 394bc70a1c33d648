"""Reads a database and the key pair without changing a file.

Opening an SQLite database is not enough, even read-only: in WAL mode a reader creates -wal and -shm files, and the last
one to close the database may write to it (https://www.sqlite.org/wal.html). So the database is copied, with its -wal or
-journal, and the copy is opened.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import make_url

from vpnkeys.domain.errors import KeyPairDamaged, StoreUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.nodes.door import Door
from vpnkeys.domain.reality import KeyPair
from vpnkeys.files import Mark
from vpnkeys.store.files.secrets import REALITY_FILE
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import current_revision, migrate
from vpnkeys.store.sql.store import SqlStore

T = TypeVar("T")
_COMPANIONS = ("", "-wal", "-journal")
_ATTEMPTS, _PAUSE_S = 20, 0.1


@contextmanager
def snapshot(database: Path) -> Iterator[Path]:
    """Yield the path of a copy of a database at one moment; it is removed after the block.

    Raises StoreUnavailable when the database changes during each of 20 copies, OSError when it cannot be read.
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
            msg = f"{database} is written to all the time; stop the server that uses it, and try again."
            raise StoreUnavailable(msg)
        yield copy


def peek_keys(database_url: str) -> tuple[Key, ...]:
    """Return the keys of our own database, of any version, without changing it; none when there is no database."""
    return _peek(database_url, SqlStore.keys)


def peek_doors(database_url: str) -> tuple[Door, ...]:
    """Return the doors of our own database likewise."""
    return _peek(database_url, SqlStore.doors)


def _peek(database_url: str, read: Callable[[SqlStore], tuple[T, ...]]) -> tuple[T, ...]:
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite" or url.database is None:
        return _read(database_url, read, may_migrate=False)
    return peek(Path(url.database), read)


def peek(database: Path, read: Callable[[SqlStore], tuple[T, ...]]) -> tuple[T, ...]:
    """Return what is read of an SQLite database of any version, without changing it; nothing where there is none."""
    if not database.exists():
        return ()
    # An older database is migrated in the copy, so that its keys can be read before an upgrade.
    with snapshot(database) as copy:
        return _read(f"sqlite:///{copy}", read, may_migrate=True)


def peek_key_pair(data_dir: Path) -> KeyPair | None:
    """Return the stored REALITY key pair, with the public key that belongs to its private key; None without a file.

    Raises KeyPairDamaged.
    """
    path = data_dir / REALITY_FILE
    try:
        return KeyPair.of_private(json.loads(path.read_bytes())["private_key"])
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError) as error:
        msg = f"{path} cannot be read or is damaged; restore it from a backup, or remove it where no key is in use yet."
        raise KeyPairDamaged(msg) from error


def _read(url: str, read: Callable[[SqlStore], tuple[T, ...]], *, may_migrate: bool) -> tuple[T, ...]:
    engine = open_engine(url)
    try:
        if may_migrate:
            migrate(engine)
        elif current_revision(engine) is None:
            return ()
        store = SqlStore(engine)
        try:
            return read(store)
        finally:
            store.close()
    finally:
        engine.dispose()


def _state(database: Path) -> list[Mark | None]:
    """Return the marks (inode, size, time) of the database's files; they differ after any write."""
    return [Mark.at(database.with_name(database.name + end)) for end in _COMPANIONS]


def _copy(database: Path, copy: Path) -> None:
    for end in _COMPANIONS:
        source, target = database.with_name(database.name + end), copy.with_name(copy.name + end)
        try:
            shutil.copyfile(source, target)
        except FileNotFoundError:
            if not end:
                raise
            target.unlink(missing_ok=True)  # copied by an earlier attempt, and belongs to an older database
