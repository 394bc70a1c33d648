"""Moves a server's data from one kind of database to another, SQLite to PostgreSQL or back.

The settings are changed last, when the new database is complete and the old one is marked (`store/transfer`).
"""

from dataclasses import dataclass

from vpnkeys.ops.backup import BACKUPS, free_name, stamp, take_whole
from vpnkeys.ops.env_file import is_overridden, set_in_env_file
from vpnkeys.owner import as_owner
from vpnkeys.settings import Settings
from vpnkeys.store.transfer.copying import Copied
from vpnkeys.store.transfer.moving import from_anywhere, target_of, transfer, without_password

_SETTING = "VPNKEYS_DATABASE_URL"


@dataclass(frozen=True, slots=True)
class Moved:
    """A database that was moved to a URL, which is without its password here.

    `pause_s` is for how long nobody could write; `is_set` says whether the settings name it.
    """

    tables: tuple[Copied, ...]
    pause_s: float
    url: str
    is_set: bool


def move_database(settings: Settings, url: str) -> Moved:
    """Copy all data to the database of this URL, and let the settings name it.

    Raises SettingsError while a server runs; MoveRefused, StoreUnavailable or OSError when it cannot be done: then
    the data and the settings are as they were, and the target has nothing.
    """
    url = from_anywhere(target_of(url, settings.database_url))  # a server starts in a directory of its own
    with as_owner(settings.data_dir), take_whole(settings.data_dir):
        aside = free_name(settings.data_dir / BACKUPS, f"before-move-{stamp()}")
        done = transfer(settings.database_url, url, aside)
        return Moved(done.tables, done.pause_s, without_password(url), _settings_follow(settings, url))


def _settings_follow(settings: Settings, url: str) -> bool:
    """Write the setting, and return whether it counts now."""
    if is_overridden(_SETTING):
        return False
    try:
        set_in_env_file(settings.data_dir, _SETTING, url)
    except OSError:
        return False  # everything is moved, so that this is left to the operator
    return True
