"""A PostgreSQL database is saved and restored by its own programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.contract.test_move import contents, fill
from tests.contract.test_store import key
from tests.support.postgres import Cluster
from typer.testing import CliRunner

from vpnkeys.cli.main import build_app
from vpnkeys.store.sql.opening import open_current, open_migrated


class Place:
    """A data directory whose database is PostgreSQL's."""

    def __init__(self, data_dir: Path, url: str) -> None:
        """Name both in the settings."""
        data_dir.mkdir(mode=0o700)
        self.data_dir, self.url = data_dir, url
        (data_dir / "vpnkeys.env").write_text(f"VPNKEYS_DATABASE_URL='{url}'\n")

    def run(self, *command: str | Path) -> dict[str, Any]:
        """Run a command; what it says."""
        app = build_app(["database"])
        done = CliRunner().invoke(app, [*map(str, command), "--json"], env={"VPNKEYS_DATA_DIR": str(self.data_dir)})
        assert done.stdout, done
        said: dict[str, Any] = json.loads(done.stdout)
        return said | {"exit": done.exit_code}


@pytest.fixture
def place(tmp_path: Path, postgres: Cluster) -> Place:
    """With something in each table."""
    made = Place(tmp_path / "data", postgres.empty_database())
    fill(made.url)
    return made


def test_a_dump_is_restored_elsewhere(place: Place, postgres: Cluster, tmp_path: Path) -> None:
    """Every row of every table, and keys can be made there."""
    before, saved = contents(place.url), tmp_path / "a.dump"
    assert place.run("database", "dump", saved)["status"] == "written"
    assert saved.stat().st_mode & 0o777 == 0o600
    new = Place(tmp_path / "new", postgres.empty_database())
    loaded = new.run("database", "load", saved)
    assert (loaded["status"], loaded["keys"]) == ("restored", 2)
    assert contents(new.url) == before
    store = open_current(new.url)
    with store.write() as transaction:
        transaction.insert(key(3))
    store.close()


def test_what_is_there_is_replaced_only_on_request(place: Place, tmp_path: Path) -> None:
    """And then all of it, in one step."""
    saved = tmp_path / "a.dump"
    before = contents(place.url)
    place.run("database", "dump", saved)
    store = open_current(place.url)
    with store.write() as transaction:
        transaction.delete(key(1).id)
        transaction.insert(key(4))
    store.close()
    changed = contents(place.url)
    assert place.run("database", "load", saved)["code"] == "dump_failed"
    assert contents(place.url) == changed
    assert place.run("database", "load", saved, "--replace")["keys"] == 2
    assert contents(place.url) == before


def test_a_dump_is_tried_in_a_database_of_its_own(place: Place, postgres: Cluster, tmp_path: Path) -> None:
    """Restored, migrated, counted, and gone; the server's own is not touched. A damaged file is found so."""
    saved = tmp_path / "a.dump"
    place.run("database", "dump", saved)
    before, databases = contents(place.url), postgres.execute("SELECT datname FROM pg_database ORDER BY 1")
    assert place.run("database", "load", saved, "--trial")["keys"] == 2
    saved.write_bytes(saved.read_bytes()[:-2000])
    assert place.run("database", "load", saved, "--trial")["code"] == "dump_failed"
    assert contents(place.url) == before
    assert [name for name in postgres.execute("SELECT datname FROM pg_database") if "trial" in name[0]] == []
    assert databases


@pytest.mark.parametrize("command", [("dump",), ("load",), ("load", "--replace"), ("load", "--trial")])
def test_a_healthy_sqlite_database_is_not_called_damaged(command: tuple[str, ...], tmp_path: Path) -> None:
    """These commands are PostgreSQL's alone, whatever file they are given, and say so; nothing is written."""
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    url, file = f"sqlite:///{data_dir / 'vpnkeys.db'}", tmp_path / "a.dump"
    open_migrated(url).dispose()
    file.write_bytes(b"junk")
    (data_dir / "vpnkeys.env").write_text(f"VPNKEYS_DATABASE_URL='{url}'\n")
    verb, *options = command
    line = ["database", verb, str(file), *options, "--json"]
    done = CliRunner().invoke(build_app(["database"]), line, env={"VPNKEYS_DATA_DIR": str(data_dir)})
    said = json.loads(done.stdout)
    assert (done.exit_code, said["code"]) == (1, "dump_failed"), said
    assert "this server's database is not PostgreSQL" in said["message"]
    assert file.read_bytes() == b"junk"
