"""Migrations bring any database to the shape of `tables.py`, from anywhere, all or nothing."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text
from tests.support.migrating import bring_to

from vpnkeys.domain.errors import VpnKeysError
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import HEAD, current_revision, migrate
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.store.sql.tables import metadata


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty database."""
    found = open_engine(f"sqlite:///{tmp_path / 'vpnkeys.db'}")
    yield found
    found.dispose()


def scripts() -> ScriptDirectory:
    """The revisions in the package."""
    config = Config()
    config.set_main_option("script_location", "vpnkeys.store.sql:migrations")
    return ScriptDirectory.from_config(config)


def schema(engine: Engine) -> list[str]:
    """What the database says of its own shape."""
    with engine.begin() as connection:
        return sorted(connection.execute(text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")).scalars())


def test_a_migrated_database_has_the_shape_of_the_tables(engine: Engine) -> None:
    """Nothing is missing, nothing is too much: tables, columns, types, indices, constraints."""
    migrate(engine)
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        found = inspect(connection)
        for table in metadata.tables.values():
            assert found.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key]


def test_a_migrated_database_is_the_one_that_the_tables_would_make(engine: Engine, tmp_path: Path) -> None:
    """The same columns with the same promises, seen by the database itself."""
    migrate(engine)
    fresh = open_engine(f"sqlite:///{tmp_path / 'fresh.db'}")
    metadata.create_all(fresh)
    with engine.begin() as one, fresh.begin() as other:
        for table in metadata.tables:
            assert inspect(one).get_foreign_keys(table) == inspect(other).get_foreign_keys(table)
            assert inspect(one).get_check_constraints(table) == inspect(other).get_check_constraints(table)
            assert inspect(one).get_indexes(table) == inspect(other).get_indexes(table)
            for here, there in zip(inspect(one).get_columns(table), inspect(other).get_columns(table), strict=True):
                assert str(here) == str(there)
    fresh.dispose()


def test_the_newest_revision_is_the_one_that_is_named() -> None:
    """`HEAD` spares the start an import; it must not lie. There is one line of revisions, without branches."""
    assert scripts().get_heads() == [HEAD]
    assert len(scripts().get_bases()) == 1


def test_migrating_again_changes_nothing(engine: Engine) -> None:
    """A restart is not a migration."""
    assert current_revision(engine) is None
    migrate(engine)
    before = schema(engine)
    migrate(engine)
    assert schema(engine) == before
    assert current_revision(engine) == HEAD


def test_a_migration_is_all_or_nothing(engine: Engine) -> None:
    """When a step fails, the database is what it was before."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE idempotency (mine INTEGER)"))
    before = schema(engine)
    with pytest.raises(Exception, match="already exists"):
        migrate(engine)
    assert schema(engine) == before
    assert current_revision(engine) is None


def test_a_newer_database_is_refused(engine: Engine) -> None:
    """An older program must not guess at what a newer one has written; it says so and touches nothing."""
    migrate(engine)
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = schema(engine)
    with pytest.raises(VpnKeysError, match="9999"):
        migrate(engine)
    assert schema(engine) == before
    assert current_revision(engine) == "9999"


def test_migrations_are_in_the_package() -> None:
    """They need no alembic.ini and nothing of the source tree."""
    package = resources.files("vpnkeys.store.sql")
    assert package.joinpath("migrations", "env.py").is_file()
    assert not package.joinpath("alembic.ini").is_file()


def test_migrating_works_from_any_directory(tmp_path: Path) -> None:
    """And without an environment: a service has neither."""
    url = f"sqlite:///{tmp_path / 'vpnkeys.db'}"
    code = (
        "from vpnkeys.store.sql.engine import open_engine; from vpnkeys.store.sql.migrate import migrate\n"
        f"engine = open_engine({url!r}); migrate(engine); engine.dispose()"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {"PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=elsewhere, env=environment, check=True)
    assert list(elsewhere.iterdir()) == []
    engine = open_engine(url)
    assert current_revision(engine) == HEAD
    engine.dispose()


def test_subscriptions_of_before_keep_their_addresses(engine: Engine) -> None:
    """They become those of one key each, and the server sees every later change of them."""
    columns = "id, name, uuid, created_at, is_active, port, short_id, sni, flow"
    at = "2025-08-05 12:00:00.000000"
    bring_to(engine, "0007")
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(
            text(f"INSERT INTO keys ({columns}) VALUES ('k', 'n', 'u', '{at}', 1, 10001, 's', 'a.test', '')")  # noqa: S608 - our own
        )
        connection.execute(text(f"INSERT INTO subscriptions VALUES ('k', '{'a' * 64}', '{at}')"))  # noqa: S608 - our own
    migrate(engine)
    store = SqlStore(engine)
    (kept,) = store.subscriptions().values()
    assert (kept.id, kept.key_ids, kept.token_hash) == ("k", ("k",), "a" * 64)
    with store.write() as transaction:
        transaction.delete_subscription("k")
    assert store.subscriptions() == {}
