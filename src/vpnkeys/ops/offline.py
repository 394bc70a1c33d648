"""Access to the data directory by commands, without a server in this process."""

from collections.abc import Iterator
from contextlib import contextmanager

from vpnkeys.clock import SystemClock
from vpnkeys.ops.backup import take_whole
from vpnkeys.ops.data_dir import api_socket
from vpnkeys.service.traffic import count
from vpnkeys.settings import Settings, SettingsError
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import migrate
from vpnkeys.store.sql.opening import NotReady, open_current
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.xray.rpc.counters import XrayCounters


@contextmanager
def offline_store(settings: Settings) -> Iterator[SqlStore]:
    """Open the database for the block, migrated to this version. The lock keeps servers from running meanwhile.

    Raises SettingsError when a server runs.
    """
    with take_whole(settings.data_dir):
        engine = open_engine(settings.database_url)
        migrate(engine)
        store = SqlStore(engine)
        try:
            yield store
        finally:
            store.close()


def collect_traffic(settings: Settings) -> None:
    """Add Xray's counters to the keys' totals, whether or not a server runs.

    The database is neither made nor migrated: only the server does that, as it holds the data directory's lock. Raises
    SettingsError when there is no database of this version, and Unavailable when it or Xray does not answer.
    """
    counters = XrayCounters(api_socket(settings))
    with _store_as_it_is(settings.database_url) as store:
        try:
            count(store, counters, SystemClock())
        finally:
            counters.close()


@contextmanager
def _store_as_it_is(database_url: str) -> Iterator[SqlStore]:
    """Open the database for the block if it has this version. Raises SettingsError or StoreUnavailable."""
    try:
        store = open_current(database_url)
    except NotReady as error:
        msg = f"VPNKEYS_DATABASE_URL: {error}"
        raise SettingsError(msg) from error
    try:
        yield store
    finally:
        store.close()
