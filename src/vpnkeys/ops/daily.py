"""The daily backup of a running server."""

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from vpnkeys.ops.backup import BACKUPS, STAMP, database_file, stamp, write_backup
from vpnkeys.ops.retention import kept
from vpnkeys.service.backups import BackupFile
from vpnkeys.settings import Settings, SettingsError
from vpnkeys.worker import NEVER, Job, Worker

_log = logging.getLogger(__name__)

_NAME = re.compile(r"vpnkeys-(\d{8}-\d{6})\.backup")
_LEFTOVER = re.compile(r"\.vpnkeys-\d{8}-\d{6}\.new\.backup")
"""The temporary file of a backup that was interrupted."""
_DAY_S, _AFTER_START_S, _AFTER_FAILURE_S = 86400.0, 300.0, 3600.0
_JOB = Job(
    name="daily-backup",
    failing="the daily backup failed and will be retried every hour",
    every_s=_DAY_S,
    back_off_s=(_AFTER_FAILURE_S,),
    late_after_s=2 * _AFTER_FAILURE_S,
    expected=(Exception,),  # any failure is logged, and the server goes on
)


@dataclass(slots=True)
class DailyBackup:
    """Backs the data directory up into `backups/`, once a day. Serving never waits for it."""

    settings: Settings
    has_keys: Callable[[], bool]
    worker: Worker = field(init=False)
    _is_planned: bool = field(default=False, init=False)
    _has_failed: bool = field(default=False, init=False)
    _making: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        """Create the worker. It may be ended while it writes a backup: the file is then complete or absent."""
        self.worker = Worker(_JOB, self._step)

    def make(self) -> bool:
        """Make one backup now, and return whether it worked. A failure is logged once, until a backup works again."""
        try:
            self._make()
        except Exception as error:  # noqa: BLE001 - whatever it is, serving goes on
            if not self._has_failed:
                _log.warning("the backup failed: %s", error)
            self._has_failed = True
            return False
        self._has_failed = False
        return True

    def _make(self) -> None:
        directory = self.settings.data_dir / BACKUPS
        with self._making:
            directory.mkdir(mode=0o700, exist_ok=True)
            # Names have whole seconds: a second backup in the same second replaces the first.
            made = write_backup(self.settings, directory / f"vpnkeys-{stamp()}.backup", force=True).file
            _thin_out(directory, _moment_of(made) or datetime.now(UTC))
        _log.info("daily backup: %s", made)

    def files(self) -> tuple[BackupFile, ...]:
        """Return all backups, newest first, those made by a restore included."""
        found = [path for path in _listed(self.settings.data_dir / BACKUPS) if path.suffix == ".backup"]
        files = [(path.name, path.stat()) for path in found if not path.name.startswith(".")]
        moments = [(name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)) for name, status in files]
        newest_first = sorted(moments, key=lambda file: (file[2], file[0]), reverse=True)
        return tuple(BackupFile(name, size, at.replace(tzinfo=None)) for name, size, at in newest_first)

    def find(self, name: str) -> Path | None:
        """Return the path of the backup with this name, or None. Names with a path are never found."""
        known = {file.name for file in self.files()}
        return self.settings.data_dir / BACKUPS / name if name in known else None

    def first_delay_s(self) -> float:
        """Return the seconds until the first backup: a day after the last, at once when only keys exist."""
        moments = [at for path in _listed(self.settings.data_dir / BACKUPS) if (at := _moment_of(path)) is not None]
        if not moments:
            return 0.0 if self.has_keys() else _AFTER_START_S
        due = _DAY_S - (datetime.now(UTC) - max(moments)).total_seconds()
        return min(max(due, _AFTER_START_S), _DAY_S)  # a clock that was wrong must not delay it for years

    def _step(self) -> float | None:
        """Plan at the first step, make a backup at each later one, and return the pause before the next step."""
        if self._is_planned:
            self._make()
            return None
        self._is_planned = True
        try:
            database_file(self.settings)
        except SettingsError:
            _log.info("this database is not SQLite, so there is no daily backup; back it up with its own tools")
            return NEVER
        try:
            return self.first_delay_s()
        except Exception:  # noqa: BLE001 - the database does not answer yet
            return _AFTER_START_S


def _listed(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def _moment_of(path: Path) -> datetime | None:
    """Return when a backup of ours was made, by its name; None for any other file."""
    match = _NAME.fullmatch(path.name)
    try:
        return datetime.strptime(match[1], STAMP).replace(tzinfo=UTC) if match else None
    except ValueError:  # digits that are no date
        return None


def _thin_out(directory: Path, now: datetime) -> None:
    """Remove backups of ours that are not kept (`ops/retention.py`), and leftovers."""
    found = _listed(directory)
    ours = {path: at for path in found if (at := _moment_of(path)) is not None}
    still = kept(ours.values(), now)
    gone = [path for path, at in ours.items() if at not in still]
    for path in (*gone, *(path for path in found if _LEFTOVER.fullmatch(path.name))):
        path.unlink(missing_ok=True)
