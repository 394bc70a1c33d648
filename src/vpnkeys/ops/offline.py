"""Access to the data directory by commands, without a server in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import DatabaseError

from vpnkeys.clock import SystemClock
from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.ops.backup import take_whole
from vpnkeys.ops.data_dir import api_socket
from vpnkeys.service.traffic import count
from vpnkeys.settings import Settings, SettingsError
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import HEAD, current_revision, migrate
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
    _require_file(database_url)
    engine = open_engine(database_url)
    try:
        revision = current_revision(engine)
        if revision != HEAD:
            msg = (
                f"VPNKEYS_DATABASE_URL: the database is at version {revision or 'none'}, this vpnkeys needs {HEAD}; "
                "start the server once (vpnkeys serve) to migrate it"
            )
            raise SettingsError(msg)
        store = SqlStore(engine)
    except DatabaseError as error:
        msg = f"The database does not answer: {error.orig}. Nothing was changed; try again shortly."
        raise StoreUnavailable(msg) from error
    else:
        try:
            yield store
        finally:
            store.close()
    finally:
        engine.dispose()


def _require_file(database_url: str) -> None:
    """Raise SettingsError when the SQLite file does not exist: opening it would create it."""
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite" or url.database is None:
        return
    try:
        if Path(url.database).is_file():
            return
        why = "does not exist; start the server once (vpnkeys serve) to make it"
    except OSError as error:
        why = f"cannot be read: {error.strerror}; run this as the server's user or root"
    msg = f"VPNKEYS_DATABASE_URL: the database {url.database} {why}"
    raise SettingsError(msg)
