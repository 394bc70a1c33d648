"""Brings a database of any earlier version to the shape of `tables.py`."""

from sqlalchemy import Engine, inspect, text

from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.store.sql.engine import Translated
from vpnkeys.store.sql.writers import Writers

HEAD = "0007"
"""The newest revision under `migrations/versions`; a test holds them together."""


def migrate(engine: Engine) -> None:
    """Apply what is missing, all or nothing.

    Raises StoreUnavailable when the database does not answer or is of a newer version, and DatabaseDamaged.
    """
    if current_revision(engine) == HEAD:
        return  # without Alembic, whose import alone takes longer than the whole start
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "vpnkeys.store.sql:migrations")
    # One transaction for all: SQLite rolls back changes of tables too, so a crash leaves the old version whole.
    with (
        Translated(),
        Writers.of(engine).turn(),
        engine.connect().execution_options(writes=True) as connection,
        connection.begin(),
    ):
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            msg = f"The database is of another version of vpnkeys: {error}. Use that version, or restore a backup."
            raise StoreUnavailable(msg) from error


def current_revision(engine: Engine) -> str | None:
    """Return the revision that a database is at; None for an empty one. Raises StoreUnavailable, DatabaseDamaged."""
    with Translated(), engine.begin() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
