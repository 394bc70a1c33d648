"""The reserve of the data directory: really on the disk, given up when the disk is full, and put there again."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.contract.test_store import NOON, key
from tests.support.disks import empty, fill, fill_for_good, needs_mounts, remount, small_disk
from tests.support.process import wait_until

from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.files import RESERVE_BYTES, free_bytes, has_reserve, keep_reserve, write_atomically
from vpnkeys.store.sql.opened import opened
from vpnkeys.store.sql.opening import open_migrated
from vpnkeys.store.sql.store import SqlStore

pytestmark = needs_mounts


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk with a reserve."""
    with small_disk(tmp_path / "d", 12) as disk:
        keep_reserve(disk)
        yield disk


def test_it_takes_the_space_that_it_gives_back(disk: Path) -> None:
    """All of it, not only a long name."""
    with_it = free_bytes(disk)
    assert has_reserve(disk)
    (disk / "reserve").unlink()
    assert free_bytes(disk) - with_it >= RESERVE_BYTES


def test_a_file_has_room_on_a_full_disk(disk: Path) -> None:
    """Once; when that room is used up too, the old file stays."""
    file = disk / "config.json"
    write_atomically(file, b"old")
    fill(disk)
    write_atomically(file, bytes(10_000))
    assert not has_reserve(disk)
    fill(disk)
    with pytest.raises(OSError, match="No space"):
        write_atomically(file, b"new")
    assert file.read_bytes() == bytes(10_000)


def test_the_database_has_room_on_a_full_disk(disk: Path) -> None:
    """A change that begins on a full disk is stored; a database can be opened too, which needs a file of its own."""
    url = f"sqlite:///{disk / 'vpnkeys.db'}"
    open_migrated(url).dispose()
    fill(disk)
    with closing(SqlStore(open_migrated(url))) as store:
        with store.write() as transaction:
            transaction.insert(key(1))
        assert store.keys() == (key(1),)
        assert not has_reserve(disk)


def test_it_is_put_there_again_when_there_is_room(disk: Path) -> None:
    """Not on a full disk, where it would be given up at once; and a read-only disk is no error."""
    fill_for_good(disk)
    keep_reserve(disk)
    assert not has_reserve(disk)
    empty(disk)
    keep_reserve(disk)
    assert has_reserve(disk)
    (disk / "reserve").unlink()
    remount(disk, "ro")
    keep_reserve(disk)
    assert not has_reserve(disk)
    assert not (disk / "reserve").exists()


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_database_is_read_where_nothing_can_be_written(disk: Path, trouble: str) -> None:
    """SQLite alone could not open it; what is written fails, and works as soon as the disk takes it again."""
    url = f"sqlite:///{disk / 'vpnkeys.db'}"
    with closing(SqlStore(open_migrated(url))) as store, store.write() as transaction:
        transaction.insert(key(1))
    fill_for_good(disk) if trouble == "full" else remount(disk, "ro")
    with closing(SqlStore(open_migrated(url))) as store:
        assert store.keys() == (key(1),)
        for _ in range(2):
            with pytest.raises(StoreUnavailable), store.write() as transaction:
                transaction.insert(key(2))
        assert store.keys() == (key(1),)
        empty(disk) if trouble == "full" else remount(disk, "rw")
        with suppress(StoreUnavailable), store.write() as transaction:  # by a connection that was opened before
            transaction.insert(key(2))
        with store.write() as transaction:
            transaction.insert(key(3))
        assert key(3) in set(store.keys())


_KILLED = """
import os, sys
from tests.contract.test_store import NOON, key
from vpnkeys.store.sql.opening import open_migrated
from vpnkeys.store.sql.store import SqlStore
with SqlStore(open_migrated(sys.argv[1])).write() as transaction:
    transaction.insert(key(1))
os._exit(0)
"""


def test_a_busy_server_writes_again_after_a_disk_was_read_only(disk: Path) -> None:
    """Though one of its connections is always open, and SQLite keeps them read-only as long as one of them is."""
    url = f"sqlite:///{disk / 'vpnkeys.db'}"
    # With a write-ahead log, as after a crash: SQLite itself opens that read-only.
    subprocess.run([sys.executable, "-c", _KILLED, url], check=True)
    remount(disk, "ro")
    store, is_over, written = SqlStore(open_migrated(url)), threading.Event(), threading.Event()

    def use() -> None:
        while not is_over.wait(0.01):
            store.traffic(key(1).uuid)
            with suppress(StoreUnavailable):
                with store.write(patience_s=1.0) as transaction:
                    transaction.put_stops([])
                    transaction.forget(NOON)
                written.set()

    with closing(store), ThreadPoolExecutor(5) as pool:
        users = [pool.submit(use) for _ in range(5)]
        try:
            assert not written.wait(0.3)
            remount(disk, "rw")
            assert written.wait(120.0)
        finally:
            is_over.set()
        for user in users:
            user.result()


def test_a_disk_that_comes_back_while_a_connection_is_opened(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was opened a moment before only reads, and is not kept: SQLite would open nothing else beside it."""
    url = f"sqlite:///{disk / 'vpnkeys.db'}"
    subprocess.run([sys.executable, "-c", _KILLED, url], check=True)
    remount(disk, "ro")

    def opened_just_before(file: Path, args: list[Any], options: dict[str, Any]) -> tuple[sqlite3.Connection, bool]:
        result = opened(file, args, options)
        remount(disk, "rw")
        return result

    with closing(SqlStore(open_migrated(url))) as store:
        with pytest.raises(StoreUnavailable), store.write() as transaction:  # closes the one that is always open
            transaction.insert(key(2))
        with monkeypatch.context() as patched:
            patched.setattr("vpnkeys.store.sql.engine.opened", opened_just_before)
            store.traffic(key(1).uuid)
        with store.write() as transaction:
            transaction.insert(key(2))
        assert key(2) in set(store.keys())


@contextmanager
def users_of(store: SqlStore, count: int, holding_s: float) -> Iterator[None]:
    """Threads that read all the time, each with its connection open for so long."""
    is_over = threading.Event()

    def use(number: int) -> None:
        is_over.wait(holding_s * number / count)  # so that one of them always has its connection
        while not is_over.is_set():
            with store._engine.begin() as connection:
                connection.exec_driver_sql("SELECT 1").all()
                is_over.wait(holding_s)

    with ThreadPoolExecutor(count) as pool:
        users = [pool.submit(use, number) for number in range(count)]
        try:
            yield
        finally:
            is_over.set()
        for user in users:
            user.result()


def test_a_slow_server_writes_again_after_a_disk_was_read_only(disk: Path) -> None:
    """Its connections are open for longer than another one waits at first, and one of them always is."""
    url = f"sqlite:///{disk / 'vpnkeys.db'}"
    subprocess.run([sys.executable, "-c", _KILLED, url], check=True)
    remount(disk, "ro")
    with closing(SqlStore(open_migrated(url))) as store, users_of(store, 4, holding_s=0.5):
        assert not writes(store)
        remount(disk, "rw")
        assert wait_until(lambda: writes(store), 60.0)


def writes(store: SqlStore) -> bool:
    """Return whether a write is stored."""
    with suppress(StoreUnavailable):
        with store.write(patience_s=1.0) as transaction:
            transaction.forget(NOON)
        return True
    return False
