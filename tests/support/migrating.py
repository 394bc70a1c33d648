"""Databases as the servers of earlier versions have made them."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

from vpnkeys.store.sql.migrate import migrate

_WITHOUT_FOREIGN_KEYS = "0014"
"""The first version whose server switches them off to migrate SQLite; the others made their tables with them."""


def bring_to(engine: Engine, revision: str) -> None:
    """Bring a database to an earlier version, as that one's server has made it."""
    if revision >= _WITHOUT_FOREIGN_KEYS:
        migrate(engine, revision)
    else:
        bring_with_foreign_keys(engine, revision)


def bring_with_foreign_keys(engine: Engine, revision: str) -> None:
    """Bring a database to a version with SQLite's foreign keys in force."""
    config = Config()
    config.set_main_option("script_location", "vpnkeys.store.sql:migrations")
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
