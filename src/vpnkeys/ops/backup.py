"""Backups of a data directory, made beside a running server; and restored, all or nothing, while none runs."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from sqlalchemy import make_url

from vpnkeys import __version__
from vpnkeys.domain.errors import VpnKeysError
from vpnkeys.files import sync_directory, write_atomically
from vpnkeys.ops.data_dir import take
from vpnkeys.settings import Settings, SettingsError
from vpnkeys.store.files.backup import (
    COMPANIONS,
    DATABASE,
    MEMBERS,
    Backup,
    BackupRefused,
    copy_database,
    make_fit,
    pack,
)
from vpnkeys.store.files.secrets import API_KEY_FILE, REALITY_FILE, load_api_key, load_key_pair

BACKUPS = "backups"
_STAGING, _COMMITTED = ".restore.new", ".restore"
_LIST = "members.json"


@dataclass(frozen=True, slots=True)
class Written:
    """A backup that was made."""

    file: Path
    size: int
    members: tuple[str, ...]
    is_encrypted: bool


@dataclass(frozen=True, slots=True)
class Restored:
    """A backup that was restored, and where the content before it is kept, if there was any."""

    backup: Backup
    ports: tuple[int, ...]
    kept_aside: Path | None


def database_file(settings: Settings) -> Path:
    """The SQLite file. Raises SettingsError for any other database."""
    url = make_url(settings.database_url)
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        msg = (
            f"VPNKEYS_DATABASE_URL: a backup holds an SQLite database, and this one is {url.get_backend_name()}; back "
            "it up with that database's own tools, and copy reality.json, api-key.json and tls/ of the data directory"
        )
        raise SettingsError(msg)
    return Path(str(url.database)).absolute()


def write_backup(settings: Settings, file: Path, passphrase: str | None = None, *, force: bool = False) -> Written:
    """Back the data directory up into one file that its owner alone can read, whether or not a server runs.

    Raises SettingsError, BackupRefused when the file is there already, VpnKeysError or OSError when something cannot
    be read or written; then no file was made.
    """
    database = database_file(settings)
    if file.exists() and not force:
        raise BackupRefused(f"{file} is there already; give another name, or --force to replace it")
    members = _collect(settings.data_dir, database)
    created_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    raw = pack(Backup(__version__, created_at, members), passphrase)
    write_atomically(file, raw)
    return Written(file, len(raw), tuple(members), passphrase is not None)


def restore_backup(
    settings: Settings, backup: Backup, settings_in: Callable[[Path], Settings], *, force: bool = False
) -> Restored:
    """Make the data directory what it was when the backup was made, or leave it as it is. `config.json` stays.

    `settings_in` tells the settings that a server with another data directory would have: those that come with the
    backup are looked at before they are put in place. Raises SettingsError while a server runs, BackupRefused,
    VpnKeysError or OSError; then nothing was changed.

    In order, each step durable before the next:

    1. Everything is written into the directory `.restore.new` and checked there. A crash leaves the old state and this
       directory, which the next restore removes.
    2. The old content is kept aside in `backups/`.
    3. `.restore.new` becomes `.restore`, by one rename: from here on the new state counts.
    4. The files are moved to their places (`finish_restore`). A crash leaves some of each; the next start of the
       server, or running the restore again, moves the rest.
    """
    database_file(settings)
    with take(settings.data_dir):
        staging = settings.data_dir / _STAGING
        is_interrupted = (settings.data_dir / _COMMITTED).is_dir()
        present = _present(settings.data_dir)
        if present and not (force or is_interrupted):
            msg = f"{settings.data_dir} is in use ({', '.join(present)}); --force replaces it and keeps the old aside"
            raise BackupRefused(msg)
        try:
            ports = _stage(staging, backup.members)
            _check_place(settings.data_dir, settings_in(staging), staging)
            # What an interrupted restore replaced is aside already, and what it brought is in its own file.
            finish_restore(settings.data_dir)
            aside = _keep_aside(settings) if present and not is_interrupted else None
            staging.rename(settings.data_dir / _COMMITTED)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        sync_directory(settings.data_dir)
        finish_restore(settings.data_dir)
        return Restored(backup, ports, aside)


def take_whole(data_dir: Path) -> IO[str]:
    """The data directory and its lock, as `take` gives them, with no restore left half done in it.

    Raises SettingsError as `take` does, and after it has completed an interrupted restore: the settings that were read
    before may be the old ones.
    """
    lock = take(data_dir)
    if finish_restore(data_dir):
        lock.close()
        msg = "a restore had been interrupted; it is complete now. Start again, with the restored settings"
        raise SettingsError(msg)
    return lock


def finish_restore(data_dir: Path) -> bool:
    """Move what a restore has decided on to its places; whether there was any. Only with the lock in hand.

    Each step may have been done before a crash: what is no longer in `.restore` has been moved.
    """
    committed = data_dir / _COMMITTED
    if not committed.is_dir():
        return False
    listed = json.loads((committed / _LIST).read_bytes())
    for name in MEMBERS:
        source, target = committed / name, data_dir / name
        if name not in listed:
            _remove(target)
        elif source.exists():
            if name == DATABASE:
                # The old one goes first, so that nobody opens it and leaves a log beside the new one.
                _remove(target)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            source.replace(target)
            sync_directory(target.parent)
    sync_directory(data_dir)
    # No longer decided, in one step; only then taken apart.
    committed.rename(data_dir / f"{_COMMITTED}.done")
    shutil.rmtree(data_dir / f"{_COMMITTED}.done")
    return True


def stamp() -> str:
    """This second, for names of files."""
    return datetime.now(UTC).strftime("%Y%m%d-%H%M%S")


def _collect(data_dir: Path, database: Path) -> dict[str, bytes]:
    if (data_dir / _COMMITTED).is_dir():
        msg = f"a restore of {data_dir} was interrupted; start the server or restore again, which completes it"
        raise BackupRefused(msg)
    if not database.is_file():
        msg = f"VPNKEYS_DATA_DIR: there is no database {database}; start the server once (vpnkeys serve)"
        raise SettingsError(msg)
    members = {DATABASE: copy_database(database)}
    for name in MEMBERS:
        if name != DATABASE and (data_dir / name).is_file():
            members[name] = (data_dir / name).read_bytes()
    if REALITY_FILE not in members:
        msg = f"{data_dir} has no {REALITY_FILE}, without which no link can be restored; start the server once"
        raise BackupRefused(msg)
    return members


def _stage(staging: Path, members: Mapping[str, bytes]) -> tuple[int, ...]:
    """Write the new state and check it; the keys' ports."""
    if DATABASE not in members or REALITY_FILE not in members:
        raise BackupRefused(f"it holds no {DATABASE} or no {REALITY_FILE}")
    shutil.rmtree(staging, ignore_errors=True)
    shutil.rmtree(staging.with_name(f"{_COMMITTED}.done"), ignore_errors=True)
    staging.mkdir(mode=0o700)
    for name, content in members.items():
        (staging / name).parent.mkdir(mode=0o700, exist_ok=True)
        write_atomically(staging / name, content)
    ports = make_fit(staging / DATABASE)
    try:
        load_key_pair(staging)
        if API_KEY_FILE in members:
            load_api_key(staging, None)
    except ValueError as error:
        raise BackupRefused(f"a secret in it is damaged: {error}") from error
    write_atomically(staging / _LIST, json.dumps(list(members)).encode())
    return ports


def _check_place(data_dir: Path, found: Settings, staging: Path) -> None:
    """A server that starts with the restored settings has to find the restored database."""
    if database_file(found) not in (staging / DATABASE, data_dir / DATABASE):
        msg = (
            f"VPNKEYS_DATABASE_URL: the server would use {database_file(found)}, and a backup is restored to "
            f"{data_dir / DATABASE}; set VPNKEYS_DATABASE_URL=sqlite:///{data_dir / DATABASE}, here and for the server"
        )
        raise SettingsError(msg)


def _present(data_dir: Path) -> list[str]:
    return [name for name in MEMBERS if (data_dir / name).exists()]


def _keep_aside(settings: Settings) -> Path:
    """The content of the data directory as a backup; as plain copies where it is too damaged for one."""
    directory = settings.data_dir / BACKUPS
    directory.mkdir(mode=0o700, exist_ok=True)
    aside = _free_name(directory, f"before-restore-{stamp()}")
    # The copies first: SQLite may drop or apply a damaged log as soon as it opens the database.
    _copy(settings.data_dir, database_file(settings), aside)
    try:
        file = write_backup(settings, aside.with_name(f"{aside.name}.backup")).file
    except (VpnKeysError, SettingsError):
        return aside
    shutil.rmtree(aside, ignore_errors=True)
    return file


def _copy(data_dir: Path, database: Path, aside: Path) -> None:
    aside.mkdir(mode=0o700)
    sources = {name: data_dir / name for name in MEMBERS if name != DATABASE}
    sources |= {DATABASE + end: database.with_name(database.name + end) for end in ("", *COMPANIONS)}
    for name, source in sources.items():
        if source.is_file():
            (aside / name).parent.mkdir(mode=0o700, exist_ok=True)
            write_atomically(aside / name, source.read_bytes())


def _free_name(directory: Path, name: str) -> Path:
    names = (directory / (f"{name}-{number}" if number else name) for number in range(1000))
    return next(path for path in names if not (path.exists() or path.with_name(f"{path.name}.backup").exists()))


def _remove(target: Path) -> None:
    for end in ("", *COMPANIONS) if target.name == DATABASE else ("",):
        target.with_name(target.name + end).unlink(missing_ok=True)
