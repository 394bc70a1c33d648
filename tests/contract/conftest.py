"""The databases that the contracts of the store are for: each test of `database` or `store` runs on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from tests.support.databases import Database, in_memory, postgresql, sqlite
from tests.support.postgres import Cluster

from vpnkeys.interfaces import Store
from vpnkeys.store.sql.engine import open_engine

SQL = ("sqlite", "postgresql")


_PATIENCE = (
    "store._REMOTE_PATIENCE_S",
    "postgresql.connection.BoundedConnection.silent_s",
    "postgresql.opening.CONNECT_S",
    "postgresql.opening.SILENT_S",
    "postgresql.opening._STATEMENT_S",
)
"""How long a request waits for other writers and for a database that says nothing."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a request waits is for the tests of requests: here many share a busy machine, whose disk may stall."""
    for name in _PATIENCE:
        monkeypatch.setattr(f"vpnkeys.store.sql.{name}", 60.0)


def made(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A new, empty database of a kind."""
    if kind == "sqlite":
        return sqlite(tmp_path / "vpnkeys.db")
    return in_memory() if kind == "fake" else postgresql(request.getfixturevalue("postgres"))


@pytest.fixture(params=["fake", *SQL])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Each kind of database, empty."""
    return made(request.param, request, tmp_path)


@pytest.fixture(params=SQL)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Each kind of database that other processes can open too, without a table."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'vpnkeys.db'}"
    else:
        cluster: Cluster = request.getfixturevalue("postgres")
        url = cluster.empty_database()
    found = open_engine(url)
    yield found
    found.dispose()


@pytest.fixture(params=SQL)
def sql_database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Each kind of database that other processes can open too, empty."""
    return made(request.param, request, tmp_path)


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    """A store on a database."""
    found = database.open()
    yield found
    found.close()
