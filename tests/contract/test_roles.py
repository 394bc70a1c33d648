"""The roles of the documentation have the rights that a server needs, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url
from tests.contract.test_move import Place, contents, fill
from tests.contract.test_store import NOON, key
from tests.support.manual import EN, blocks_of
from tests.support.postgres import Cluster

from vpnkeys.domain.audit import Entry, Outcome
from vpnkeys.domain.change import KeptAnswer
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.store.sql.opening import open_current
from vpnkeys.store.sql.store import SqlStore

(GRANTS,) = [block.code for block in blocks_of(EN / "postgresql.md") if block.kind == "sql"]
SERVER = "vpnkeys_server"
"""The role `vpnkeys` of the documentation; here that one owns everything."""


@pytest.fixture
def database(postgres: Cluster) -> str:
    """A database of the owner's, with the rights that the documentation gives the server's role; its name."""
    name = str(make_url(postgres.database()).database)
    if not postgres.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{SERVER}'"):  # noqa: S608
        postgres.execute(f"CREATE ROLE {SERVER} LOGIN")
    for statement in GRANTS.replace(" vpnkeys;", f" {SERVER};").split(";"):
        if statement.strip():
            postgres.execute(statement, name)
    return name


@pytest.fixture
def store(postgres: Cluster, database: str) -> Iterator[SqlStore]:
    """A store of the server's role."""
    found = open_current(postgres.url(database).replace("//vpnkeys@", f"//{SERVER}@"))
    yield found
    found.close()


def test_the_server_can_do_its_work(store: SqlStore) -> None:
    """Keys, samples of a new day, old days, and the audit log."""
    with store.write() as transaction:
        transaction.insert(key(1))
    for day in range(3):
        with store.write() as transaction:
            transaction.ledger.merge(Samples("life", {key(1).uuid: Bytes(day + 1, 0)}), NOON + day * timedelta(days=1))
    with store.write() as transaction:
        assert transaction.ledger.fold_into_days(NOON.replace(hour=0) + timedelta(days=1))
    store.record(Entry("system.synced", ""), Outcome.DONE)
    store.try_out(KeptAnswer("hash", "", "", NOON))
    points = store.history(key(1).uuid, NOON - timedelta(days=1), NOON + timedelta(days=9))
    assert [point.usage.up for point in points] == [1, 1, 1]
    with store.write() as transaction:
        transaction.delete(key(1).id)
    assert len(store.audit(10)) == 3


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "ALTER TABLE audit DISABLE TRIGGER ALL",
        "DROP TABLE audit",
        "CREATE TABLE mine (id int)",
        "UPDATE alembic_version SET version_num = '0'",
        "DROP TABLE traffic_days",
    ],
)
def test_the_server_cannot_do_more(postgres: Cluster, database: str, store: SqlStore, statement: str) -> None:
    """Neither to the audit log, nor to the shape of the database."""
    store.record(Entry("system.synced", ""), Outcome.DONE)
    conninfo = postgres.conninfo(database).replace("user=vpnkeys", f"user={SERVER}")
    with psycopg.connect(conninfo, autocommit=True) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())
    assert len(store.audit(10)) == 1


def test_not_even_the_owner_changes_the_audit_log_by_mistake(postgres: Cluster, database: str, store: SqlStore) -> None:
    """Triggers refuse it."""
    store.record(Entry("system.synced", ""), Outcome.DONE)
    for statement in ("UPDATE audit SET actor = 'nobody'", "DELETE FROM audit", "TRUNCATE audit"):
        with pytest.raises(psycopg.Error, match="append-only"):
            postgres.execute(statement, database)
    assert len(store.audit(10)) == 1


def test_the_owner_moves_the_data(postgres: Cluster, database: str, tmp_path: Path) -> None:
    """Both ways: the server's role may not, and what it is told names the page that has the rights."""
    owner, place = postgres.url(database), Place(tmp_path / "data", "")
    server = owner.replace("//vpnkeys@", f"//{SERVER}@")
    place.data_dir.mkdir(mode=0o700)
    fill(place.sqlite)
    before = contents(place.sqlite)

    def refused(url: str) -> None:
        said = place.move(url)
        (page,) = re.findall(r"docs/en/(\w+\.md)", said["message"])
        assert (said["code"], [block.kind for block in blocks_of(EN / page)].count("sql")) == ("store_unavailable", 1)
        assert "the role that owns the tables" in said["message"]

    refused(server)
    assert place.move(owner)["status"] == "moved"
    assert contents(owner) == before
    (place.data_dir / "vpnkeys.env").write_text(f"VPNKEYS_DATABASE_URL='{server}'\n")
    open_current(server).close()
    refused(place.sqlite)
    back = place.move(place.sqlite, VPNKEYS_DATABASE_URL=owner)
    assert (back["status"], place.sqlite in back["next"]) == ("moved", True), back
    assert contents(place.sqlite) == before
