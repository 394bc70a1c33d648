"""Data directories as a server leaves them, without a server: to be backed up and restored."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from vpnkeys.domain.key import Key
from vpnkeys.ops.backup import Restored, restore_backup
from vpnkeys.settings import Settings, load_settings
from vpnkeys.store.files.backup import DATABASE, unpack
from vpnkeys.store.files.secrets import load_api_key, load_key_pair
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import migrate
from vpnkeys.store.sql.store import SqlStore

NOON = datetime(2025, 8, 5, 12)  # noqa: DTZ001 - UTC without an offset, as everywhere


def settings_in(data_dir: Path) -> Settings:
    """The settings of a server with this data directory and nothing else set."""
    return load_settings({"VPNKEYS_DATA_DIR": str(data_dir)})


def key(number: int) -> Key:
    """A key unlike all others."""
    uuid, sni = f"00000000-0000-4000-8000-{number:012x}", "a.example"
    return Key(f"id-{number}", f"name {number}", uuid, NOON, True, 10001 + number, f"{number:016x}", sni)


def store_in(data_dir: Path) -> SqlStore:
    """A store of the data directory's database, which is made where it is missing."""
    engine = open_engine(f"sqlite:///{data_dir / DATABASE}")
    migrate(engine)
    return SqlStore(engine)


def filled(data_dir: Path, *numbers: int) -> Settings:
    """A data directory with these keys, as a server leaves it."""
    data_dir.mkdir(mode=0o700)
    with closing(store_in(data_dir)) as store, store.write() as transaction:
        for number in numbers:
            transaction.insert(key(number))
    load_key_pair(data_dir)
    load_api_key(data_dir, None)
    (data_dir / "tls").mkdir(mode=0o700)
    (data_dir / "tls" / "cert.pem").write_text(f"certificate {numbers}")
    (data_dir / "tls" / "key.pem").write_text(f"key {numbers}")
    return settings_in(data_dir)


def keys_in(data_dir: Path) -> list[int]:
    """The numbers of the keys there."""
    with closing(store_in(data_dir)) as store:
        found = store.keys()
        return [one.port - 10001 for one in found]


def content(data_dir: Path) -> dict[str, bytes]:
    """Everything that a restore may change."""
    found = {str(path.relative_to(data_dir)): path for path in data_dir.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != ".lock"}


def changed(database: bytes, statement: str) -> bytes:
    """A database in which this was done behind our back."""
    with closing(sqlite3.connect(":memory:")) as connection:
        # In memory there is no write-ahead log: the two bytes that ask for one.
        connection.deserialize(database[:18] + b"\x01\x01" + database[20:])
        connection.executescript(f"PRAGMA ignore_check_constraints = ON; {statement}")
        connection.commit()
        return connection.serialize()


def restore(settings: Settings, file: Path, *, force: bool = False) -> Restored:
    """Restore a file that is not encrypted."""
    return restore_backup(settings, unpack(file.read_bytes()), settings_in, force=force)
