"""Backups of a data directory. Making one is possible beside a running server; restoring one needs it stopped."""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vpnkeys import __version__
from vpnkeys.domain.errors import VpnKeysError
from vpnkeys.files import sync_directory, write_atomically
from vpnkeys.ops.backup_settings import SettingsOffer, joined, offer_of
from vpnkeys.ops.data_dir import take
from vpnkeys.owner import as_owner, read_ours
from vpnkeys.settings import ENV_FILE, Settings, SettingsError
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
from vpnkeys.store.files.rows import Rows
from vpnkeys.store.files.secrets import API_KEY_FILE, REALITY_FILE, load_api_key, load_key_pair
from vpnkeys.store.files.stop_journal import FileStopJournal
from vpnkeys.store.sql.opening import backend_of, sqlite_file

BACKUPS = "backups"
STAMP = "%Y%m%d-%H%M%S"
"""The time in the names of backups, in UTC."""
_STAGING, _COMMITTED = ".restore.new", ".restore"
_ASIDE = "before-restore-"
_LIST = "members.json"
"""Names the members of the backup; files that it does not name are removed by the restore."""


@dataclass(frozen=True, slots=True)
class Written:
    """A backup file that was written. `size` is in bytes."""

    file: Path
    size: int
    members: tuple[str, ...]
    is_encrypted: bool


@dataclass(frozen=True, slots=True)
class Restored:
    """A restored backup, what its database grants, and what of its settings was not taken.

    `kept_aside` is the path to which the content before it was moved, if there was any.
    """

    backup: Backup
    rows: Rows
    settings: SettingsOffer
    kept_aside: Path | None


def database_file(settings: Settings) -> Path:
    """Return the SQLite file. Raises SettingsError for any other database."""
    file = sqlite_file(settings.database_url)
    if file is None:
        engine = backend_of(settings.database_url)
        msg = (
            f"VPNKEYS_DATABASE_URL: a backup holds an SQLite database, and this one is {engine}; save it by `vpnkeys "
            "database dump` or its own tools, and copy reality.json, api-key.json and tls/ of the data directory"
        )
        raise SettingsError(msg)
    return file


def write_backup(settings: Settings, file: Path, passphrase: str | None = None, *, force: bool = False) -> Written:
    """Write the data directory into one file that only its owner can read; a server may run meanwhile.

    Raises SettingsError, BackupRefused when the file exists, VpnKeysError or OSError when something cannot be read or
    written; then no file was made. Root reads and writes what is the server's as the server's user.
    """
    database = database_file(settings)
    if file.exists() and not force:
        raise BackupRefused(f"{file} exists already; give another name, or --force to replace it")
    with as_owner(settings.data_dir):
        members = _collect(settings.data_dir, database)
    created_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    raw = pack(Backup(__version__, created_at, members), passphrase)
    with as_owner(file):
        write_atomically(file, raw)
    return Written(file, len(raw), tuple(members), passphrase is not None)


def restore_backup(
    settings: Settings,
    backup: Backup,
    settings_in: Callable[[Path], Settings],
    *,
    force: bool = False,
    with_settings: bool = False,
) -> Restored:
    """Replace the data directory's content by the backup's, completely or not at all. `config.json` stays.

    So does the settings file, unless `with_settings`: then it is that of the backup, with the paths and programs of the
    present one. `settings_in` returns the settings of a server with another data directory, so that those in the backup
    are checked before they are used. Raises SettingsError while a server runs, BackupRefused, VpnKeysError or OSError;
    then nothing was changed.

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
        members, offer = _chosen(settings.data_dir, backup.members, with_settings=with_settings)
        present = [name for name in MEMBERS if name != ENV_FILE and (settings.data_dir / name).exists()]
        if present and not (force or is_interrupted):
            msg = f"{settings.data_dir} has data ({', '.join(present)}); --force moves them to {BACKUPS}/ and restores"
            raise BackupRefused(msg)
        try:
            rows = _stage(staging, members, database_file(settings))
            found = settings_in(staging) if ENV_FILE in members else settings
            _check_database_path(settings.data_dir, found, staging)
            # After an interrupted restore the old content is in backups/ already, and the new one in its backup file.
            finish_restore(settings.data_dir)
            aside = _keep_aside(settings) if present and not is_interrupted else None
            staging.rename(settings.data_dir / _COMMITTED)
        except BaseException:  # Ctrl-C too must leave nothing behind
            shutil.rmtree(staging, ignore_errors=True)
            raise
        sync_directory(settings.data_dir)
        finish_restore(settings.data_dir)
        return Restored(backup, rows, offer, aside)


def take_whole(data_dir: Path) -> ExitStack:
    """Lock the data directory as `take` does, and complete an interrupted restore first; root does it as its owner.

    Raises SettingsError as `take` does, and after completing a restore: the settings that the caller has read may be
    the old ones.
    """
    with as_owner(data_dir):
        lock = take(data_dir)
        if finish_restore(data_dir):
            lock.close()
            msg = "an interrupted restore was completed; start again, to use the restored settings"
            raise SettingsError(msg)
        return lock


def finish_restore(data_dir: Path) -> bool:
    """Move the files of a committed restore to their places, and return whether there was one.

    The caller holds the lock. Each step may be repeated after a crash: a file that is not in `.restore` was moved.
    """
    committed = data_dir / _COMMITTED
    if not committed.is_dir():
        return False
    listed = json.loads((committed / _LIST).read_bytes())
    for name in MEMBERS:
        source, target = committed / name, data_dir / name
        if name not in listed:
            if name != ENV_FILE:  # the settings of this host stay
                _remove(target)
        elif source.exists():
            if name == DATABASE:
                # The old one goes first with its write-ahead log, which SQLite would apply to the new one.
                _remove(target)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            source.replace(target)
            sync_directory(target.parent)
    if (data_dir / "config.json").exists() or (data_dir / BACKUPS).exists():
        write_atomically(restored_mark(data_dir), b"")  # they stay, and may have keys that this backup lacks
    FileStopJournal(data_dir).clear()  # stops of the keys of before
    sync_directory(data_dir)
    # The rename ends the restore in one step; a crash during the removal below then repeats nothing.
    committed.rename(data_dir / f"{_COMMITTED}.done")
    shutil.rmtree(data_dir / f"{_COMMITTED}.done")
    return True


def newest_backup(data_dir: Path) -> Path | None:
    """Return the newest backup in `backups/`, or None. What a restore replaced counts only when there is no other."""
    found = [path for path in (data_dir / BACKUPS).glob("*.backup") if not path.name.startswith(".")]
    return max(found, key=lambda path: (not path.name.startswith(_ASIDE), path.stat().st_mtime), default=None)


def restored_mark(data_dir: Path) -> Path:
    """Return the path of an empty file that exists from a restore until the next start of a server."""
    return data_dir / ".restored"


def stamp() -> str:
    """Return the current UTC time to the second, for file names: 20261231-235959."""
    return datetime.now(UTC).strftime(STAMP)


def _collect(data_dir: Path, database: Path) -> dict[str, bytes]:
    if (data_dir / _COMMITTED).is_dir():
        msg = f"a restore of {data_dir} was interrupted; start the server or restore again to complete it"
        raise BackupRefused(msg)
    if not database.is_file():
        msg = f"VPNKEYS_DATA_DIR: there is no database {database}; start the server once (vpnkeys serve)"
        raise SettingsError(msg)
    members = {DATABASE: copy_database(database)}
    for name in MEMBERS:
        if name != DATABASE and (data_dir / name).is_file():
            members[name] = (data_dir / name).read_bytes()
    if REALITY_FILE not in members:
        msg = f"{data_dir} has no {REALITY_FILE}, which every link depends on; start the server once to make it"
        raise BackupRefused(msg)
    return members


def _chosen(
    data_dir: Path, members: Mapping[str, bytes], *, with_settings: bool
) -> tuple[Mapping[str, bytes], SettingsOffer]:
    """Return what of a backup is restored, and which of its settings are not."""
    present, backup = read_ours(data_dir / ENV_FILE), members.get(ENV_FILE, b"").decode(errors="replace")
    rest = {name: content for name, content in members.items() if name != ENV_FILE}
    if not (with_settings and ENV_FILE in members):
        return rest, offer_of(present, backup)
    taken = joined(present, backup)
    return rest | {ENV_FILE: taken.encode()}, offer_of(taken, backup)


def _stage(staging: Path, members: Mapping[str, bytes], replaced: Path) -> Rows:
    """Write the new content to the staging directory, check it, and return what its database grants."""
    if DATABASE not in members or REALITY_FILE not in members:
        raise BackupRefused(f"the backup lacks {DATABASE} or {REALITY_FILE}")
    shutil.rmtree(staging, ignore_errors=True)
    shutil.rmtree(staging.with_name(f"{_COMMITTED}.done"), ignore_errors=True)
    staging.mkdir(mode=0o700)
    for name, content in members.items():
        (staging / name).parent.mkdir(mode=0o700, exist_ok=True)
        write_atomically(staging / name, content)
    rows = make_fit(staging / DATABASE, replaced)
    try:
        load_key_pair(staging)
        if API_KEY_FILE in members:
            load_api_key(staging, None)
    except ValueError as error:
        raise BackupRefused(f"a secret in the backup is damaged: {error}") from error
    write_atomically(staging / _LIST, json.dumps(list(members)).encode())
    return rows


def _check_database_path(data_dir: Path, found: Settings, staging: Path) -> None:
    """Raise SettingsError unless a server with the restored settings would open the restored database."""
    if database_file(found) not in (staging / DATABASE, data_dir / DATABASE):
        msg = (
            f"VPNKEYS_DATABASE_URL: the server would use {database_file(found)}, and a backup is restored to "
            f"{data_dir / DATABASE}; set VPNKEYS_DATABASE_URL=sqlite:///{data_dir / DATABASE}, here and for the server"
        )
        raise SettingsError(msg)


def _keep_aside(settings: Settings) -> Path:
    """Save the old content in `backups/` and return its path: a backup file, or plain copies where it is damaged."""
    directory = settings.data_dir / BACKUPS
    directory.mkdir(mode=0o700, exist_ok=True)
    aside = free_name(directory, f"{_ASIDE}{stamp()}")
    # The copies come first: opening the database for a backup may make SQLite drop or apply a damaged log.
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


def free_name(directory: Path, name: str) -> Path:
    """Return a path in the directory that no file, directory or backup has: this name, or one with a number."""
    names = (directory / (f"{name}-{number}" if number else name) for number in range(1000))
    return next(path for path in names if not (path.exists() or path.with_name(f"{path.name}.backup").exists()))


def _remove(target: Path) -> None:
    for end in ("", *COMPANIONS) if target.name == DATABASE else ("",):
        target.with_name(target.name + end).unlink(missing_ok=True)
