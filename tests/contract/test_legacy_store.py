"""The old server's SQLite file is read as it stands, and nothing shows that it was."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.legacy import OldKey, OldServer, realistic_keys

from vpnkeys.domain.errors import KeyPairDamaged, LegacyUnreadable, StoreUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.reality import KeyPair
from vpnkeys.service.legacy.values import parse_moment
from vpnkeys.store.files.legacy import read_legacy_database
from vpnkeys.store.files.secrets import REALITY_FILE, save_key_pair
from vpnkeys.store.files.snapshot import peek_key_pair, peek_keys
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import migrate
from vpnkeys.store.sql.store import SqlStore

NAMES = ("www.one.example", "www.two.example")
KEY = OldKey("one", 10001, "a1b2c3d4", NAMES[0])


@pytest.fixture
def server(tmp_path: Path) -> OldServer:
    """An old server with all kinds of keys."""
    return OldServer(tmp_path / "old", realistic_keys(range(10001, 10010), NAMES)).write()


def fingerprints(directory: Path) -> dict[str, tuple[str, int]]:
    """The files below a directory, with what is in them and when it was written."""
    return {
        str(path.relative_to(directory)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_every_row_is_read(server: OldServer) -> None:
    """All rows of the three tables come as they were written, the missing values as None."""
    found = read_legacy_database(server.database)
    assert found["port_assignments"] == server.tables()["port_assignments"]
    assert found["traffic_history"] == server.tables()["traffic_history"]
    names = [(row["name"], row["uuid"], row["port"], row["sni"]) for row in found["keys"]]
    assert names == [(row["name"], row["uuid"], row["port"], row["sni"]) for row in server.tables()["keys"]]


def test_unix_times_survive_a_text_column(server: OldServer) -> None:
    """A number that a column of text has made into text is the same time."""
    rows = {row["name"]: row["created_at"] for row in read_legacy_database(server.database)["keys"]}
    assert parse_moment(rows["many-names"]) == parse_moment(1_735_689_600)


def test_reading_leaves_no_trace(server: OldServer) -> None:
    """Neither the file nor its directory changes."""
    before = fingerprints(server.directory)
    read_legacy_database(server.database)
    assert fingerprints(server.directory) == before


def test_what_is_only_in_the_log_is_read(server: OldServer) -> None:
    """A database whose last writes are still in its write-ahead log is read with them, and left with them."""
    with closing(sqlite3.connect(server.database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("UPDATE keys SET name = 'renamed' WHERE name = 'early'")
        connection.commit()
        before = fingerprints(server.directory)
        names = {row["name"] for row in read_legacy_database(server.database)["keys"]}
        assert fingerprints(server.directory) == before
    assert "renamed" in names
    assert "early" not in names


def test_columns_that_came_later_may_be_missing(tmp_path: Path) -> None:
    """An early database knows no server names; the rest of it is read."""
    server = OldServer(tmp_path / "old", [KEY]).write()
    with closing(sqlite3.connect(server.database)) as connection:
        connection.execute("ALTER TABLE keys DROP COLUMN sni")
    (row,) = read_legacy_database(server.database)["keys"]
    assert "sni" not in row
    assert row["name"] == "one"


def test_a_name_in_another_encoding_does_not_stop_the_reading(tmp_path: Path) -> None:
    """One damaged name costs its own row only."""
    server = OldServer(tmp_path / "old", [KEY]).write()
    with closing(sqlite3.connect(server.database)) as connection:
        connection.execute("UPDATE keys SET name = CAST(X'FF41' AS TEXT)")
        connection.commit()
    (row,) = read_legacy_database(server.database)["keys"]
    assert row["name"] == "\udcffA"


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("PRIVATE_KEY=x\n" * 100)


def _torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _other(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE traffic_history")


def _older(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE traffic_history RENAME COLUMN payload TO data")


@pytest.mark.parametrize("spoil", [Path.unlink, _empty, _text, _torn, _other, _older])
def test_another_file_is_refused(server: OldServer, spoil: object) -> None:
    """A file that is missing, no database, damaged or another one is refused by its name."""
    assert callable(spoil)
    spoil(server.database)
    with pytest.raises(LegacyUnreadable, match=r"vpn\.db"):
        read_legacy_database(server.database)


def test_our_own_keys_are_peeked_at_without_a_trace(tmp_path: Path) -> None:
    """The keys of our database are seen, those in its log too, and its files stay as they are; none when it is none."""
    url = f"sqlite:///{tmp_path / 'vpnkeys.db'}"
    assert peek_keys(url) == ()
    assert list(tmp_path.iterdir()) == []
    engine = open_engine(url)
    migrate(engine)
    store = SqlStore(engine)
    key = Key("id", "name", KEY.uuid, parse_moment(KEY.created_at), True, 10001, "a1b2c3d4", NAMES[0])
    with store.write() as transaction:
        transaction.insert(key)
    before = fingerprints(tmp_path)
    assert peek_keys(url) == (key,)
    assert fingerprints(tmp_path) == before
    store.close()
    before = fingerprints(tmp_path)
    assert peek_keys(url) == (key,)
    assert fingerprints(tmp_path) == before


def test_a_damaged_database_of_ours_is_told_of(tmp_path: Path) -> None:
    """What is no database is not taken for an empty one."""
    _text(tmp_path / "vpnkeys.db")
    with pytest.raises(StoreUnavailable):
        peek_keys(f"sqlite:///{tmp_path / 'vpnkeys.db'}")


def test_the_key_pair_is_peeked_at(tmp_path: Path) -> None:
    """The stored pair is seen, none is made, and a damaged one is told of."""
    assert peek_key_pair(tmp_path) is None
    pair = save_key_pair(tmp_path, KeyPair.new())
    assert peek_key_pair(tmp_path) == pair
    (tmp_path / REALITY_FILE).write_text("{}")
    with pytest.raises(KeyPairDamaged, match=REALITY_FILE):
        peek_key_pair(tmp_path)
