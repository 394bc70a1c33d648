"""Starting over is never silent: what is lost although there were keys refuses the start, and a backup is named."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.data_dirs import filled, key, keys_in, settings_in, store_in

from vpnkeys.domain.errors import DatabaseDamaged, StartRefused, StoreUnavailable
from vpnkeys.ops.backup import newest_backup, restored_mark, write_backup
from vpnkeys.ops.data_dir import take
from vpnkeys.ops.startover import accept_start, refuse_starting_over
from vpnkeys.settings import Settings
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.store import SqlStore

CURE = "vpnkeys restore --newest --force"
ON_PURPOSE = "vpnkeys serve --start-empty"


def write_config(data_dir: Path, *uuids: str) -> None:
    """A config.json with a key's inbound for each UUID."""
    inbounds = [{"tag": f"key-{uuid}", "settings": {"clients": [{"id": uuid}]}} for uuid in uuids]
    (data_dir / "config.json").write_text(json.dumps({"inbounds": inbounds}))


def backed_up(settings: Settings, name: str = "vpnkeys-20250805-120000.backup") -> Path:
    """A backup where the server makes them."""
    (settings.data_dir / "backups").mkdir(exist_ok=True)
    return write_backup(settings, settings.data_dir / "backups" / name).file


@pytest.fixture
def served(tmp_path: Path) -> Settings:
    """A data directory with five keys, a config.json that has them, and a backup."""
    settings = filled(tmp_path / "data", 1, 2, 3, 4, 5)
    write_config(settings.data_dir, *(key(number).uuid for number in range(1, 6)))
    backed_up(settings)
    take(settings.data_dir).close()
    return settings


def refusal(settings: Settings) -> str:
    """Why a start is refused."""
    with pytest.raises(StartRefused) as refused:
        refuse_starting_over(settings, start_empty=False)
    return str(refused.value)


def remove(path: Path) -> None:
    """No file."""
    path.unlink()


def empty(path: Path) -> None:
    """A file of no bytes."""
    path.write_bytes(b"")


def spoil(path: Path) -> None:
    """A file of something else."""
    path.write_bytes(b"\x8d\xffsecret" * 2000)


def flip_pages(path: Path) -> None:
    """All pages but the first with other bytes."""
    raw = path.read_bytes()
    path.write_bytes(raw[:4096] + bytes(byte ^ 0x5A for byte in raw[4096:]))


def destroy_header(path: Path) -> None:
    """The first hundred bytes."""
    path.write_bytes(b"\x8d" * 100 + path.read_bytes()[100:])


def truncate(path: Path) -> None:
    """The first half."""
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 8192 * 4096])


def test_what_is_whole_starts(served: Settings) -> None:
    """As does a data directory with nothing in it, and one whose server has had no keys yet."""
    refuse_starting_over(served, start_empty=False)
    served.data_dir.joinpath("backups").rename(served.data_dir.parent / "away")
    write_config(served.data_dir)
    refuse_starting_over(served, start_empty=False)


@pytest.mark.parametrize("has_secrets", [False, True])
def test_a_first_start_is_no_loss(tmp_path: Path, *, has_secrets: bool) -> None:
    """Without keys in config.json or a backup a missing file is made."""
    settings = filled(tmp_path / "data")
    backed_up(settings)
    (settings.data_dir / "vpnkeys.db").unlink()
    if not has_secrets:
        (settings.data_dir / "reality.json").unlink()
    write_config(settings.data_dir)
    refuse_starting_over(settings, start_empty=False)


@pytest.mark.parametrize("lose", [remove, empty, spoil])
@pytest.mark.parametrize("name", ["vpnkeys.db", "reality.json", "api-key.json"])
def test_each_file_that_is_lost_refuses_the_start(served: Settings, name: str, lose: Callable[[Path], None]) -> None:
    """One line with the file, the newest backup, the command that restores it, and the one that means it."""
    lose(served.data_dir / name)
    told = refusal(served)
    assert "\n" not in told
    assert str(served.data_dir / name) in told
    assert str(newest_backup(served.data_dir)) in told
    assert CURE in told
    assert ON_PURPOSE in told
    assert "secret" not in told
    if lose is remove:
        assert not (served.data_dir / name).exists(), "nothing was made"


@pytest.mark.parametrize("damage", [flip_pages, destroy_header, truncate])
def test_a_damaged_database_refuses_the_start(served: Settings, damage: Callable[[Path], None]) -> None:
    """Whatever SQLite calls it; `--start-empty` moves it to backups/."""
    database = served.data_dir / "vpnkeys.db"
    damage(database)
    raw = database.read_bytes()
    assert "vpnkeys.db is damaged" in refusal(served)
    refuse_starting_over(served, start_empty=True)
    assert not database.exists()
    (aside,) = (served.data_dir / "backups").glob("before-start-empty-*/vpnkeys.db")
    assert aside.read_bytes() == raw


@pytest.mark.parametrize("damage", [flip_pages, destroy_header, truncate])
def test_a_damaged_database_is_named_so_by_the_store(served: Settings, damage: Callable[[Path], None]) -> None:
    """No byte of a page is in the message."""
    damage(served.data_dir / "vpnkeys.db")
    with pytest.raises(DatabaseDamaged, match=CURE) as told:
        SqlStore(open_engine(served.database_url)).keys()
    assert str(told.value).isprintable()


@pytest.mark.parametrize("change", ["DROP TABLE tokens", "ALTER TABLE tokens RENAME COLUMN name TO title"])
def test_tables_of_another_version_are_no_damage(served: Settings, change: str) -> None:
    """Every page is whole: to restore a backup would lose what was done since."""
    with closing(sqlite3.connect(served.data_dir / "vpnkeys.db")) as connection, connection:
        connection.execute(change)
    with pytest.raises(StoreUnavailable, match="of another version") as told:
        SqlStore(open_engine(served.database_url)).tokens()
    assert not isinstance(told.value, DatabaseDamaged)


def test_a_value_that_cannot_be_read_is_damage(served: Settings) -> None:
    """The page is whole, and a time in it is none; the driver's own error would quote it."""
    with closing(sqlite3.connect(served.data_dir / "vpnkeys.db")) as connection, connection:
        connection.execute("UPDATE keys SET created_at = 'secret\x01'")
    with pytest.raises(DatabaseDamaged) as told:
        store_in(served.data_dir).keys()
    assert "secret" not in str(told.value)


def test_only_the_backup_shows_that_there_were_keys(served: Settings) -> None:
    """The database and config.json are lost together."""
    (served.data_dir / "vpnkeys.db").unlink()
    (served.data_dir / "config.json").unlink()
    assert "vpnkeys-20250805-120000.backup has keys" in refusal(served)


def test_without_a_backup_one_from_elsewhere_is_asked_for(served: Settings) -> None:
    """No command is named that could not work."""
    next((served.data_dir / "backups").iterdir()).unlink()
    (served.data_dir / "vpnkeys.db").unlink()
    told = refusal(served)
    assert "vpnkeys restore FILE --force" in told
    assert CURE not in told


def test_an_older_database_refuses_the_start(served: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Two keys that it has never heard of; one may be what a power cut left of a creation, and is told."""
    refuse_starting_over(served, start_empty=False)
    assert not caplog.records
    write_config(served.data_dir, key(1).uuid, "new-1")
    refuse_starting_over(served, start_empty=False)
    assert "a key that the database lacks" in caplog.text
    assert "new-1" not in caplog.text, "who has a UUID has the key"
    write_config(served.data_dir, key(1).uuid, "new-1", "new-2")
    assert "lacks 2 keys of config.json" in refusal(served)
    refuse_starting_over(served, start_empty=True)
    assert keys_in(served.data_dir) == [1, 2, 3, 4, 5], "what is intact stays"


def test_an_older_backup_may_be_restored(served: Settings) -> None:
    """The restore says so to the next start, and to that one only."""
    write_config(served.data_dir, key(1).uuid, "new-1", "new-2")
    restored_mark(served.data_dir).touch()
    refuse_starting_over(served, start_empty=False)
    accept_start(served.data_dir)
    assert "lacks 2 keys" in refusal(served)


def test_a_given_api_key_replaces_a_lost_one(served: Settings) -> None:
    """The operator has said which it is."""
    (served.data_dir / "api-key.json").unlink()
    given = served.model_copy(update={"api_key": settings_in(served.data_dir).api_key or _secret()})
    refuse_starting_over(given, start_empty=False)


def _secret() -> object:
    from pydantic import SecretStr  # noqa: PLC0415

    return SecretStr("0123456789abcdef")


def test_the_newest_backup_is_one_of_the_servers_own(served: Settings) -> None:
    """Not what an earlier restore replaced, unless there is no other."""
    own = backed_up(served, "vpnkeys-20250806-120000.backup")
    aside = backed_up(served, "before-restore-20250807-120000.backup")
    assert newest_backup(served.data_dir) == own
    for path in (served.data_dir / "backups").glob("vpnkeys-*"):
        path.unlink()
    assert newest_backup(served.data_dir) == aside
