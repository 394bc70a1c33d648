"""Refuses a start that would make anew what was lost: the database, the key pair or the API key."""

import logging
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vpnkeys.domain.errors import DatabaseDamaged, KeyPairDamaged, StartRefused
from vpnkeys.domain.key import KEY_TAG_PREFIX
from vpnkeys.files import sync_directory
from vpnkeys.ops.backup import BACKUPS, free_name, newest_backup, restored_mark, stamp
from vpnkeys.settings import Settings
from vpnkeys.store.files.backup import COMPANIONS, DATABASE, BackupRefused, unpack
from vpnkeys.store.files.secrets import API_KEY_FILE, REALITY_FILE, load_api_key
from vpnkeys.store.files.snapshot import peek_key_pair
from vpnkeys.store.sql.opening import sqlite_file
from vpnkeys.store.sql.soundness import Contents, check_database
from vpnkeys.xray.config.reading import read_document

_log = logging.getLogger(__name__)

_STRANGERS = 2
"""So many keys of config.json must be unknown for a database to be older: a power cut during a creation leaves one."""


@dataclass(frozen=True, slots=True)
class _Loss:
    """What a start would make anew, and what is wrong with it. `file` is None for a database that is no file."""

    file: Path | None
    problem: str
    is_damaged: bool = False

    def __str__(self) -> str:
        """Return both in words."""
        return f"{self.file or 'the database of VPNKEYS_DATABASE_URL'} {self.problem}"


def refuse_starting_over(settings: Settings, *, start_empty: bool) -> None:
    """Raise StartRefused when something is lost and config.json, a backup or the database shows that there were keys.

    With `start_empty` what is damaged is moved to `backups/` instead, and the start makes it anew; what is intact
    stays. Raises StoreUnavailable when the database does not answer. The caller holds the data directory's lock.
    """
    in_config = _uuids_of_config(settings.data_dir / "config.json")
    contents, losses = _look_at_database(settings, in_config)
    losses += _secrets_lost(settings)
    if restored_mark(settings.data_dir).exists():
        losses = [loss for loss in losses if loss.is_damaged]  # all else is what the backup had
    if start_empty:
        _set_aside(settings.data_dir, [loss.file for loss in losses if loss.is_damaged and loss.file is not None])
        return
    evidence = _evidence(settings.data_dir, in_config, contents) if losses else ""
    if evidence or any(loss.is_damaged for loss in losses):
        raise StartRefused(_refusal(settings.data_dir, losses, evidence))


def accept_start(data_dir: Path) -> None:
    """Forget that a backup was restored: config.json is now as the database says."""
    mark = restored_mark(data_dir)
    if mark.exists():  # asked first, as a read-only disk refuses to remove even what is not there
        with suppress(OSError):
            mark.unlink()


def _uuids_of_config(path: Path) -> frozenset[str]:
    """Return the UUIDs of the keys in config.json; none when it is missing or cannot be read."""
    try:
        inbounds = (read_document(path) or {}).get("inbounds", [])
        ours = [inbound for inbound in inbounds if str(inbound.get("tag", "")).startswith(KEY_TAG_PREFIX)]
        return frozenset(str(client["id"]) for inbound in ours for client in inbound["settings"]["clients"])
    except (OSError, AttributeError, KeyError, TypeError):
        return frozenset()


def _look_at_database(settings: Settings, in_config: frozenset[str]) -> tuple[Contents | None, list[_Loss]]:
    file = sqlite_file(settings.database_url)
    if file is not None and not file.exists():
        return None, [_Loss(file, "is missing")]
    if file is not None and file.stat().st_size == 0:
        return None, [_Loss(file, "is empty")]
    try:
        contents = check_database(settings.database_url)
    except DatabaseDamaged:
        return None, [_Loss(file, "is damaged", is_damaged=True)]
    if contents is None:
        return None, [_Loss(file, "is empty")]
    strangers = in_config - contents.known
    if len(strangers) >= _STRANGERS:
        return contents, [_Loss(file, f"lacks {len(strangers)} keys of config.json")]
    if strangers:
        _log.warning(
            "config.json has a key that the database lacks, and which is removed: it was being made when the server "
            "was killed, or the database is an older one, in which deleted keys are back (vpnkeys keys list)"
        )
    return contents, []


def _secrets_lost(settings: Settings) -> list[_Loss]:
    data_dir = settings.data_dir
    lost = []
    try:
        pair = peek_key_pair(data_dir)
    except KeyPairDamaged:
        lost.append(_Loss(data_dir / REALITY_FILE, "is damaged", is_damaged=True))
    else:
        lost += [] if pair else [_Loss(data_dir / REALITY_FILE, "is missing")]
    if settings.api_key is not None:
        return lost  # it replaces the one that is lost
    path = data_dir / API_KEY_FILE
    if not path.exists():
        return [*lost, _Loss(path, "is missing")]
    try:
        load_api_key(data_dir, None)
    except ValueError:
        lost.append(_Loss(path, "is damaged", is_damaged=True))
    return lost


def _evidence(data_dir: Path, in_config: frozenset[str], contents: Contents | None) -> str:
    """Return what shows that there were keys, or ""."""
    if in_config:
        return f"config.json has keys: {len(in_config)}"
    # A database with keys and without traffic was imported, and its server has never run.
    if contents is not None and contents.keys and contents.has_served:
        return f"the database has keys: {len(contents.keys)}"
    newest = newest_backup(data_dir)
    return f"{newest.name} has keys" if newest is not None and _has_keys(newest) else ""


def _has_keys(backup: Path) -> bool:
    """Return whether a backup has keys; one that cannot be read may have."""
    try:
        database = unpack(backup.read_bytes()).members[DATABASE]
    except (OSError, KeyError, BackupRefused):
        return True
    with tempfile.TemporaryDirectory(prefix="vpnkeys-") as directory:
        copy = Path(directory) / DATABASE
        copy.write_bytes(database)
        contents = check_database(f"sqlite:///{copy}")
    return contents is not None and bool(contents.keys)


def _refusal(data_dir: Path, losses: list[_Loss], evidence: str) -> str:
    what = " and ".join(map(str, losses))
    newest = newest_backup(data_dir)
    cure = (
        f"there is no backup in {data_dir / BACKUPS}, so restore one from elsewhere: vpnkeys restore FILE --force"
        if newest is None
        else f"restore the newest backup, {newest}: vpnkeys restore --newest --force"
    )
    but = f", but {evidence}" if evidence else ""
    return f"{what}{but}; {cure} (or go on without what is lost: vpnkeys serve --start-empty)"


def _set_aside(data_dir: Path, files: list[Path]) -> None:
    """Move what is damaged to `backups/`, the database with its companions."""
    if not files:
        return
    (data_dir / BACKUPS).mkdir(mode=0o700, exist_ok=True)
    aside = free_name(data_dir / BACKUPS, f"before-start-empty-{stamp()}")
    aside.mkdir(mode=0o700)
    # Companions first: SQLite would apply them to the new database if the process died in between.
    for file in files:
        for source in (*(file.with_name(file.name + end) for end in COMPANIONS), file):
            if source.exists():
                shutil.move(source, aside / source.name)
    sync_directory(aside)
    sync_directory(data_dir)
