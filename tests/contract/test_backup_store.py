"""Backups of a data directory: taken while others write, restored as they were or refused whole."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.data_dirs import NOON, changed, content, filled, key, keys_in, restore, settings_in, store_in
from tests.support.migrating import bring_to

from vpnkeys.domain.reality import KeyPair
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.ops.backup import restore_backup, write_backup
from vpnkeys.ops.data_dir import take
from vpnkeys.settings import Settings, SettingsError, load_settings
from vpnkeys.store.files.backup import DATABASE, BackupRefused, unpack
from vpnkeys.store.files.secrets import load_key_pair, save_key_pair
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import HEAD


@pytest.fixture
def old(tmp_path: Path) -> Settings:
    """A data directory with two keys."""
    return filled(tmp_path / "old", 1, 2)


@pytest.fixture
def file(tmp_path: Path, old: Settings) -> Path:
    """A backup of it."""
    return write_backup(old, tmp_path / "backup").file


def test_everything_comes_back(tmp_path: Path, old: Settings, file: Path) -> None:
    """In another directory, readable by its owner alone; not what was made for the old place."""
    (old.data_dir / "config.json").write_text("{}")
    new = tmp_path / "new"
    restored = restore(settings_in(new), file)
    assert (restored.rows.ports, restored.kept_aside) == ((10002, 10003), None)
    for name in ("reality.json", "api-key.json", "tls/cert.pem", "tls/key.pem"):
        assert (new / name).read_bytes() == (old.data_dir / name).read_bytes()
    assert set(content(new)) == {*unpack(file.read_bytes()).members}
    assert keys_in(new) == [1, 2]
    assert all(path.stat().st_mode & 0o077 == 0 for path in [file, *new.rglob("*")] if path.name != ".lock")


def test_a_file_is_not_overwritten_unasked(old: Settings, file: Path) -> None:
    """A slip of the hand does not cost the last good backup."""
    before = file.read_bytes()
    with pytest.raises(BackupRefused, match="exists already"):
        write_backup(old, file)
    assert file.read_bytes() == before
    write_backup(old, file, force=True)


def test_other_databases_have_their_own_tools(tmp_path: Path) -> None:
    """They are refused, by a line that says so."""
    settings = load_settings({"VPNKEYS_DATA_DIR": str(tmp_path), "VPNKEYS_DATABASE_URL": "postgresql://host/name"})
    with pytest.raises(SettingsError, match="own tools"):
        write_backup(settings, tmp_path / "backup")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def writers(old: Settings) -> Iterator[list[int]]:
    """Two threads that add keys in pairs, one transaction each, for as long as the test lasts."""
    stopping, written = threading.Event(), [0]

    def work(first: int) -> None:
        with closing(store_in(old.data_dir)) as store:
            for number in range(first, first + 20_000, 2):
                if stopping.is_set():
                    return
                with store.write() as transaction:
                    transaction.insert(key(number))
                    transaction.insert(key(number + 1))
                written[0] += 1

    threads = [threading.Thread(target=work, args=(first,)) for first in (100, 20_100)]
    for thread in threads:
        thread.start()
    yield written
    stopping.set()
    for thread in threads:
        thread.join()


def test_it_is_whole_while_others_write(tmp_path: Path, old: Settings, writers: list[int]) -> None:
    """Ten backups under load: of every transaction all or nothing, and no committed one missing."""
    for number in range(10):
        committed = writers[0]
        file = write_backup(old, tmp_path / f"backup-{number}").file
        new = tmp_path / f"new-{number}"
        restore(settings_in(new), file)
        found = set(keys_in(new)) - {1, 2}
        assert all(one ^ 1 in found for one in found)
        assert len(found) >= 2 * committed
    assert writers[0] > 10, "there was load"


def test_what_is_in_use_is_only_replaced_when_forced(tmp_path: Path, file: Path) -> None:
    """And then it is kept aside, as a backup that can be restored in turn."""
    new = filled(tmp_path / "new", 7)
    (new.data_dir / "vpnkeys.env").write_text("VPNKEYS_SERVER_ADDRESS=there.example\n")
    before = content(new.data_dir)
    with pytest.raises(BackupRefused, match="--force"):
        restore(new, file)
    assert content(new.data_dir) == before
    aside = restore(new, file, force=True).kept_aside
    assert keys_in(new.data_dir) == [1, 2]
    assert (new.data_dir / "vpnkeys.env").read_bytes() == before["vpnkeys.env"], "the settings of this host stay"
    assert aside is not None
    restore(new, aside, force=True)
    after = content(new.data_dir)
    assert keys_in(new.data_dir) == [7]
    assert {name: after[name] for name in before if name != DATABASE} == {
        name: found for name, found in before.items() if name != DATABASE
    }


def test_what_was_used_since_the_backup_stays_counted(tmp_path: Path) -> None:
    """Of keys that both have: in lives that both know, and in later ones; nothing is counted twice, and no gap made."""
    settings = filled(tmp_path / "data", 1, 2)
    one, two = key(1).uuid, key(2).uuid
    with closing(store_in(settings.data_dir)) as store, store.write() as transaction:
        transaction.ledger.merge(Samples("a-1-1", {one: Bytes(10, 20)}), NOON)
    file = write_backup(settings, tmp_path / "backup").file
    with closing(store_in(settings.data_dir)) as store, store.write() as transaction:
        transaction.delete(key(2).id)
        transaction.insert(replace(key(3), uuid=two))
        transaction.ledger.merge(Samples("a-1-1", {one: Bytes(15, 20)}), NOON)
        transaction.ledger.end_epoch("a-1-1", NOON)
        transaction.ledger.merge(Samples("a-2-2", {one: Bytes(100, 200), two: Bytes(7, 7)}), NOON)
    for _ in range(2):
        restore(settings, file, force=True)
        assert not (settings.data_dir / f"{DATABASE}-wal").exists()
        with closing(store_in(settings.data_dir)) as store:
            assert {uuid: used.total_bytes for uuid, used in store.totals().items()} == {one: 335}
            assert store.traffic(one).gaps == ()


def test_damage_is_kept_aside_as_it_is(tmp_path: Path, file: Path) -> None:
    """A database that cannot be backed up is no reason not to restore; its bytes are kept."""
    new = filled(tmp_path / "new", 7)
    (new.data_dir / DATABASE).write_bytes(b"torn" * 1000)
    (new.data_dir / f"{DATABASE}-wal").write_bytes(b"log" * 1000)
    aside = restore(new, file, force=True).kept_aside
    assert not (new.data_dir / f"{DATABASE}-wal").exists(), "a log of the old database has no business with the new one"
    assert aside is not None
    assert (aside / DATABASE).read_bytes() == b"torn" * 1000
    assert (aside / f"{DATABASE}-wal").read_bytes() == b"log" * 1000
    assert (aside / "tls" / "key.pem").read_text() == "key (7,)"
    assert keys_in(new.data_dir) == [1, 2]


def test_nothing_is_restored_under_a_server(tmp_path: Path, file: Path) -> None:
    """While somebody holds the data directory nothing changes."""
    new = filled(tmp_path / "new", 7)
    with take(new.data_dir):
        before = content(new.data_dir)
        with pytest.raises(SettingsError, match="stop that one first"):
            restore(new, file, force=True)
        assert content(new.data_dir) == before


def _newer(members: dict[str, bytes]) -> None:
    members[DATABASE] = changed(members[DATABASE], "UPDATE alembic_version SET version_num = '9999'")


def _foreign(members: dict[str, bytes]) -> None:
    members[DATABASE] = changed(members[DATABASE], "DROP TABLE alembic_version")


def _torn(members: dict[str, bytes]) -> None:
    members[DATABASE] = members[DATABASE][:5000]


def _no_pair(members: dict[str, bytes]) -> None:
    del members["reality.json"]


def _bad_pair(members: dict[str, bytes]) -> None:
    members["reality.json"] = b'{"private_key": "x", "public_key": "y"}'


def _bad_hash(members: dict[str, bytes]) -> None:
    members["api-key.json"] = b"{}"


@pytest.mark.parametrize("spoil", [_newer, _foreign, _torn, _no_pair, _bad_pair, _bad_hash])
def test_what_cannot_be_used_changes_nothing(tmp_path: Path, file: Path, spoil: object) -> None:
    """A sound file with a database of a newer vpnkeys, or of none, or damaged secrets: refused whole."""
    assert callable(spoil)
    found = unpack(file.read_bytes())
    members = dict(found.members)
    spoil(members)
    new = filled(tmp_path / "new", 7)
    before = content(new.data_dir)
    with pytest.raises((BackupRefused, SettingsError)) as refused:
        restore_backup(new, type(found)(found.created_by, found.created_at, members), settings_in, force=True)
    assert content(new.data_dir) == before
    assert len(str(refused.value).splitlines()) == 1


def test_an_older_database_is_brought_up_to_date(tmp_path: Path, file: Path) -> None:
    """A backup of an earlier version is worth as much."""
    found = unpack(file.read_bytes())
    older = tmp_path / "older.db"
    engine = open_engine(f"sqlite:///{older}")
    bring_to(engine, "0001")
    engine.dispose()
    members = {**found.members, DATABASE: older.read_bytes()}
    new = tmp_path / "new"
    restore_backup(settings_in(new), type(found)("0.0.1", found.created_at, members), settings_in)
    with closing(sqlite3.connect(new / DATABASE)) as connection_to_new:
        assert connection_to_new.execute("SELECT version_num FROM alembic_version").fetchone() == (HEAD,)


def test_a_pair_of_the_backup_is_the_pair_of_the_server(tmp_path: Path, old: Settings) -> None:
    """Every link depends on it: it is the very one, also where another was made meanwhile."""
    pair = load_key_pair(old.data_dir)
    file = write_backup(old, tmp_path / "backup").file
    save_key_pair(old.data_dir, KeyPair.new())
    restore(old, file, force=True)
    assert load_key_pair(old.data_dir) == pair
