"""The data directory without a server."""

from collections.abc import Iterator
from contextlib import contextmanager

from vpnkeys.bootstrap.data_dir import take
from vpnkeys.settings import Settings
from vpnkeys.store.engine import open_engine
from vpnkeys.store.migrate import migrate
from vpnkeys.store.sql import SqlStore


@contextmanager
def offline_store(settings: Settings) -> Iterator[SqlStore]:
    """The database, brought up to date, while no server runs on the data directory and none can start.

    Raises SettingsError when one does.
    """
    with take(settings.data_dir):
        engine = open_engine(settings.database_url)
        migrate(engine)
        store = SqlStore(engine)
        try:
            yield store
        finally:
            store.close()
