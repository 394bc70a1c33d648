"""A database moves from SQLite to PostgreSQL and back, row by row, or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url, select
from tests.contract.test_store import NOON, key
from tests.support.postgres import Cluster
from tests.support.process import wait_until
from typer.testing import CliRunner

from vpnkeys.cli.main import build_app
from vpnkeys.domain.audit import Entry, Outcome
from vpnkeys.domain.change import Intent, KeptAnswer, Stop
from vpnkeys.domain.errors import DatabaseMoved, StoreUnavailable
from vpnkeys.domain.flow import Flow
from vpnkeys.domain.limits.near import Notice
from vpnkeys.domain.making.placing import Placing
from vpnkeys.domain.nodes import Join, NodeRecord, NodeRef, Sighting
from vpnkeys.domain.nodes.door import Door, Member
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Scope, Token
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.domain.webhook import Webhook
from vpnkeys.service.nodes.lease import Lease, release_all
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.opening import open_current, open_migrated
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.store.sql.tables import changed_keys, generations, metadata

DAY = timedelta(days=1)
ONE, TWO = key(1), key(2, name="Анна Ω 🙂", note="two\nlines\tand a tab")


def fill(url: str) -> None:
    """Make the database of a server that has something in each of its tables."""
    store = SqlStore(open_migrated(url))
    with store.write() as transaction:
        transaction.outbox.put_webhook(Webhook("w1", "https://a.test/", "s" * 64, (), is_active=True, created_at=NOON))
    with store.write() as transaction:
        transaction.insert(ONE)
        transaction.insert(TWO)
        transaction.put_token(Token("t1", "bot", "vk_", "d" * 64, Scope.KEYS, NOON, NOON + DAY))
        transaction.put_subscription(Subscription(TWO.id, (TWO.id,), "h" * 64, NOON))
        transaction.remember(KeptAnswer("k" * 64, "b" * 64, "{}", NOON))
        transaction.put_intents([Intent("i", "uuid-i", 10050, "50" * 8, NOON)])
        transaction.put_stops([Stop("s", "uuid-s", 10051, NOON, is_confirmed=False)])
        transaction.record(Entry("key.traffic_reset", ONE.id, {"a": None}, {"b": "ü"}))
        transaction.put_notices({ONE.id: Notice(NOON, 80)})
        node = transaction.nodes.add(NodeRecord(NodeRef(0, "far"), "eu", 2, None, ports=PortRange(1, 9)))
        transaction.nodes.put_door(
            Door("old", 443, "a.test:443", ("a.test",), "p" * 43, ("01" * 8,), (Member.of(ONE, Flow.NONE),))
        )
        transaction.nodes.put_join(Join("j" * 64, node.ref.id, NOON))
        transaction.nodes.put_sighting(node.ref.id, Sighting(NOON, "1", "2", ("a.test",)))
        transaction.nodes.place([Placing(replace(ONE, id="placed", node=node.ref), "of one that died")])
        transaction.leases.put("webhooks", "of one that died")
        ledger = transaction.ledger
        ledger.open_account(TWO.uuid, 2**62)
        for day in range(16):
            at = NOON + day * DAY + timedelta(microseconds=day)
            ledger.merge(Samples(f"life-{day // 6}", {ONE.uuid: Bytes(day, 2**40 * day), TWO.uuid: Bytes(0, day)}), at)
        while ledger.fold_into_days(NOON.replace(hour=0) + 4 * DAY):
            pass
        ledger.reset(ONE.uuid, NOON + 15 * DAY)
    store.close()


def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of a database."""
    engine = open_engine(url)
    with engine.begin() as connection:
        found = {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
            if table not in {generations, changed_keys}
        }
    engine.dispose()
    return found


def left_in(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of a database but those of an empty one: the built-in node."""
    of_an_empty_one: list[list[tuple[Any, ...]]] = [
        [],
        [(1, "local", "default", 1, None, "up", "", None, None, "", "", "", None, "")],
    ]
    return {table: rows for table, rows in contents(url).items() if rows not in of_an_empty_one}


@dataclass(frozen=True)
class Place:
    """A data directory with a database in it, and an empty database on PostgreSQL."""

    data_dir: Path
    url: str

    @property
    def sqlite(self) -> str:
        """Where the data are at first."""
        return f"sqlite:///{self.data_dir / 'vpnkeys.db'}"

    def command(self, url: str) -> list[str]:
        """The command that moves the data there."""
        return [sys.executable, "-m", "vpnkeys", "database", "move", url, "--json"]

    def environment(self) -> dict[str, str]:
        """Nothing but the data directory: all else is in the settings file."""
        return {"PATH": os.environ["PATH"], "VPNKEYS_DATA_DIR": str(self.data_dir)}

    def move(self, url: str, **more: str) -> dict[str, Any]:
        """Move the data there; what the command says."""
        done = CliRunner().invoke(build_app(["database"]), self.command(url)[3:], env=self.environment() | more)
        assert done.stdout, done
        said: dict[str, Any] = json.loads(done.stdout)
        return said | {"exit": done.exit_code}


@pytest.fixture
def place(tmp_path: Path, postgres: Cluster) -> Iterator[Place]:
    """With something in each table."""
    made = Place(tmp_path / "data", postgres.empty_database())
    made.data_dir.mkdir(mode=0o700)
    fill(made.sqlite)
    yield made
    left = [path.name for path in made.data_dir.iterdir() if "moving" in path.name]
    assert left == []


def test_there_and_back(place: Place) -> None:
    """Every row of every table; the old one is refused, the settings follow, and numbers go on after those there."""
    before = contents(place.sqlite)
    assert all(before.values()), "each table has rows, so that none can be left out"
    there = place.move(place.url)
    assert (there["status"], there["exit"]) == ("moved", 0)
    assert there["rows"] == {table: len(rows) for table, rows in before.items()}
    assert 0 < there["pause_s"] < 120
    assert contents(place.url) == before
    assert (place.data_dir / "vpnkeys.env").read_text() == f"VPNKEYS_DATABASE_URL='{place.url}'\n"
    with pytest.raises(StoreUnavailable, match="moved to postgresql"):
        open_current(place.sqlite)
    with pytest.raises(StoreUnavailable, match="VPNKEYS_DATABASE_URL"):
        open_migrated(place.sqlite)

    store = open_current(place.url)
    with store.write() as transaction:
        transaction.insert(key(3))
        transaction.ledger.merge(Samples("life-9", {key(3).uuid: Bytes(1, 2)}), NOON + 101 * DAY)
    assert store.audit(1)[0].id == max(row[0] for row in before["audit"]) + 1
    store.close()

    before = contents(place.url)
    back = place.move(place.sqlite)
    assert (back["status"], back["exit"]) == ("moved", 0)
    assert contents(place.sqlite) == before
    assert [path.name for path in (place.data_dir / "backups").glob("before-move-*/*.db")] == ["vpnkeys.db"]
    with pytest.raises(StoreUnavailable, match="moved to sqlite"):
        open_current(place.url)
    open_current(place.sqlite).close()


def refused(place: Place, url: str, code: str, before: dict[str, list[tuple[Any, ...]]]) -> str:
    """A move that is refused: the data are where they were, and the settings are what they were; its message."""
    said = place.move(url)
    assert (said["status"], said["code"]) == ("failed", code), said
    assert contents(place.sqlite) == before
    open_current(place.sqlite).close()
    assert not (place.data_dir / "vpnkeys.env").exists()
    return str(said["message"])


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_who_has_it_open_writes_and_reads_no_more(place: Place, kind: str) -> None:
    """What was opened before the move finds the mark, in each transaction that writes and at each look."""
    old, new = place.sqlite, place.url
    if kind == "postgresql":
        assert place.move(new)["status"] == "moved"
        old, new = new, old
    with closing(SqlStore(open_engine(old))) as store, closing(SqlStore(open_engine(old))) as idle:
        assert place.move(new)["status"] == "moved"
        before = contents(old)
        for _ in range(2):
            with pytest.raises(DatabaseMoved, match="VPNKEYS_DATABASE_URL"), store.write() as transaction:
                transaction.insert(key(3))
            with pytest.raises(DatabaseMoved, match="moved to"):
                store.keys()
        with pytest.raises(DatabaseMoved):
            idle.look()
        if kind == "postgresql":
            assert [one.id for one in idle.last_known()[0]] == [ONE.id, TWO.id], "keys can still be stopped"
            with pytest.raises(StoreUnavailable, match="it was moved to sqlite"):
                store.record(Entry("system.synced", ""), Outcome.DONE)
    assert contents(old) == before


@pytest.mark.parametrize("table", [table.name for table in metadata.sorted_tables])
def test_no_release_changes_a_row_of_it(moved_away: psycopg.Connection[Any], table: str) -> None:
    """PostgreSQL refuses it, whatever the program looks at before."""
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="moved to sqlite"):
        moved_away.execute(f"INSERT INTO {table} SELECT * FROM {table}".encode())  # noqa: S608 - our own names


@pytest.fixture(scope="module")
def moved_away(tmp_path_factory: pytest.TempPathFactory, postgres: Cluster) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a database that was moved to a file."""
    place = Place(tmp_path_factory.mktemp("moved"), postgres.database())
    assert place.move(place.sqlite, VPNKEYS_DATABASE_URL=place.url)["status"] == "moved"
    with psycopg.connect(postgres.conninfo(str(make_url(place.url).database)), autocommit=True) as connection:
        yield connection


@contextmanager
def control_plane(url: str) -> Iterator[None]:
    """One that works on a database: it says so every three seconds, by its leases."""
    is_over = threading.Event()
    with closing(SqlStore(open_engine(url))) as store:
        lease = Lease("webhooks", store, "another one")

        def work() -> None:
            while not is_over.wait(0.2):
                lease.is_mine()

        working = threading.Thread(target=work)
        working.start()
        try:
            yield
        finally:
            is_over.set()
            working.join()
            release_all(store, "another one")


def test_a_database_on_which_a_control_plane_works_is_not_moved(place: Place) -> None:
    """It would answer nothing any more. Leases of one that died do not count."""
    assert place.move(place.url)["status"] == "moved"
    with control_plane(place.url):
        said = place.move(place.sqlite)
    assert (said["code"], said["exit"]) == ("move_refused", 1), said
    assert "stop all of them first" in said["message"]
    assert place.move(place.sqlite)["status"] == "moved"


def test_a_target_with_rows_is_refused(place: Place) -> None:
    """It may be another server's."""
    before = contents(place.sqlite)
    fill(place.url)
    there = contents(place.url)
    assert "rows already" in refused(place, place.url, "move_refused", before)
    assert contents(place.url) == there


def test_a_row_that_changes_on_its_way_is_found(place: Place) -> None:
    """Whatever changed it: here a trigger of the target."""
    before = contents(place.sqlite)
    engine = open_migrated(place.url)
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.exec_driver_sql(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.note := rtrim(NEW.note, 'b'); RETURN NEW; END $$"
        )
        connection.exec_driver_sql("CREATE TRIGGER spoil BEFORE INSERT ON keys FOR EACH ROW EXECUTE FUNCTION spoil()")
    engine.dispose()
    assert "table keys has 2 rows" in refused(place, place.url, "move_refused", before)
    assert left_in(place.url) == {}


def test_a_move_that_is_killed_leaves_the_source_and_an_empty_target(place: Place, postgres: Cluster) -> None:
    """In the middle of the copy, and it can be repeated."""
    before = contents(place.sqlite)
    engine = open_migrated(place.url)
    name = str(make_url(place.url).database)
    # The copy stops at a table that somebody else holds.
    with psycopg.connect(postgres.conninfo(name)) as other:
        other.execute("LOCK TABLE traffic_usage IN ACCESS EXCLUSIVE MODE")
        mover = subprocess.Popen(
            place.command(place.url), env=place.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        waits = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE NOT granted AND datname = "
        assert wait_until(lambda: postgres.execute(f"{waits}'{name}'")[0][0] > 0, 60)
        mover.send_signal(signal.SIGKILL)
        mover.communicate()
    engine.dispose()
    assert left_in(place.url) == {}
    assert contents(place.sqlite) == before
    assert place.move(place.url)["status"] == "moved"
    assert contents(place.url) == before


def test_a_move_back_that_is_refused_keeps_the_file(place: Place) -> None:
    """A database that is in use is never replaced."""
    before = contents(place.sqlite)
    assert place.move(place.url)["status"] == "moved"
    fill(f"sqlite:///{place.data_dir / 'other.db'}")
    said = place.move(f"sqlite:///{place.data_dir / 'other.db'}")
    assert (said["code"], contents(place.url)) == ("move_refused", before)


def test_what_the_environment_sets_is_said(place: Place) -> None:
    """The settings file would not count then; a password is not printed."""
    url = place.url.replace("postgresql://vpnkeys@", "postgresql://vpnkeys:secret@")
    said = place.move(url, VPNKEYS_DATABASE_URL=place.sqlite)
    assert said["status"] == "moved"
    assert "VPNKEYS_DATABASE_URL=postgresql://vpnkeys:***@" in said["next"]
    assert not (place.data_dir / "vpnkeys.env").exists()


def test_a_path_is_of_where_it_was_typed(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings name the file from wherever a server starts, and so does what is said."""
    before = contents(place.sqlite)
    assert place.move(place.url)["status"] == "moved"
    monkeypatch.chdir(place.data_dir)
    said = place.move("sqlite:///other.db")
    url = f"sqlite:///{place.data_dir / 'other.db'}"
    assert (said["status"], url in said["next"]) == ("moved", True), said
    assert (place.data_dir / "vpnkeys.env").read_text() == f"VPNKEYS_DATABASE_URL='{url}'\n"
    monkeypatch.chdir(tmp_path)
    assert contents(url) == before


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////tmp/other.db", "mysql://a@b/c"])
def test_what_is_no_move_is_refused(place: Place, url: str) -> None:
    """Before anything is opened."""
    said = place.move(url)
    assert said["exit"] in {1, 2}
    assert said["status"] == "failed", said
