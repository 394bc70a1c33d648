"""What a dump holds and where its tables are is looked at before anything is dropped or called proven."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url
from tests.contract.test_dump import Place
from tests.contract.test_move import contents, fill
from tests.contract.test_store import key
from tests.support.postgres import OWNER, Cluster

from vpnkeys.store.sql.opening import open_current

OF_ANOTHER = "CREATE TABLE keys (id int); CREATE TABLE alembic_version AS SELECT 'ae1027a6acf' AS version_num"
HOLDS = {
    "nothing": "",
    "another's table": "CREATE TABLE customers (id int)",
    "another's tables with our names": OF_ANOTHER,
    "ours in another schema": "CREATE SCHEMA vpn",
}


@pytest.fixture(params=HOLDS)
def held(request: pytest.FixtureRequest, postgres: Cluster) -> str:
    """The URL of a database of which a server with an ordinary URL finds nothing."""
    url = postgres.empty_database()
    if statements := HOLDS[request.param]:
        postgres.execute(statements, name_of(url))
    if "vpn" in statements:
        fill(f"{url}&options=-csearch_path%3Dvpn")
    return url


def name_of(url: str) -> str:
    """The database of a URL."""
    return str(make_url(url).database)


def test_a_dump_without_our_tables_is_not_restored(held: str, postgres: Cluster, tmp_path: Path) -> None:
    """By whatever option, and it is not called proven: all that was there is there."""
    file = tmp_path / "a.dump"
    subprocess.run(["pg_dump", "--format=custom", f"--file={file}", f"--dbname={held}"], check=True)
    full, empty = Place(tmp_path / "full", postgres.empty_database()), Place(tmp_path / "empty", postgres.database())
    fill(full.url)
    before = contents(full.url)
    for place, option in ((full, "--trial"), (full, "--replace"), (empty, "--replace"), (empty, "--trial")):
        said = place.run("database", "load", file, option)
        assert (said["exit"], said["code"]) == (1, "dump_failed"), said
        assert "cannot be restored" not in said["message"], "it is refused before anything is tried"
    assert contents(full.url) == before
    assert "keys" in contents(empty.url)


def test_what_is_not_ours_is_not_saved(held: str, tmp_path: Path) -> None:
    """A file of it would be taken for a backup."""
    said = Place(tmp_path / "data", held).run("database", "dump", tmp_path / "a.dump")
    assert (said["exit"], said["status"]) == (1, "failed"), said
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def looking_into(schema: str, how: str, postgres: Cluster) -> str:
    """An empty database in which a server looks into this schema; its URL."""
    url = postgres.empty_database()
    name = name_of(url)
    if how == "URL":
        return f"{url}&options=-csearch_path%3D{schema}"
    whose = {"database": f"DATABASE {name}", "role": f"ROLE {OWNER} IN DATABASE {name}"}[how]
    postgres.execute(f"ALTER {whose} SET search_path = {schema}")
    return url


@pytest.mark.parametrize("how", ["URL", "database", "role"])
def test_a_schema_of_its_own_is_proven_and_restored(how: str, postgres: Cluster, tmp_path: Path) -> None:
    """The trial, over what is there, into an empty database, and into one that has the schema already."""
    place, file = Place(tmp_path / "data", looking_into("vpn", how, postgres)), tmp_path / "a.dump"
    postgres.execute("CREATE SCHEMA vpn; CREATE TABLE public.of_another (id int)", name_of(place.url))
    fill(place.url)
    before = contents(place.url)
    assert place.run("database", "dump", file)["status"] == "written"
    assert place.run("database", "load", file, "--trial") | {"file": ""} == {
        "status": "proven", "file": "", "keys": 2, "exit": 0,
    }  # fmt: skip
    assert "has tables already" in place.run("database", "load", file)["message"]
    assert place.run("database", "load", file, "--replace")["keys"] == 2
    assert contents(place.url) == before
    for number, made in enumerate(("", "CREATE SCHEMA vpn")):
        new = Place(tmp_path / f"new-{number}", looking_into("vpn", how, postgres))
        if made:
            postgres.execute(made, name_of(new.url))
        assert new.run("database", "load", file).get("keys") == 2
        assert contents(new.url) == before
        with closing(open_current(new.url)) as store, store.write() as transaction:
            transaction.insert(key(3))
