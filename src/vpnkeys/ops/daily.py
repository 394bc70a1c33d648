"""The backup that a running server makes every day."""

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from vpnkeys.domain.backup import BackupFile
from vpnkeys.ops.backup import BACKUPS, database_file, stamp, write_backup
from vpnkeys.settings import Settings, SettingsError
from vpnkeys.worker import NEVER, Job, Worker

_log = logging.getLogger(__name__)

_KEPT = 10
_NAME = re.compile(r"vpnkeys-(\d{8}-\d{6})\.backup")
_LEFTOVER = re.compile(r"\.vpnkeys-\d{8}-\d{6}\.new\.backup")
_DAY_S, _AFTER_START_S, _AFTER_FAILURE_S = 86400.0, 300.0, 3600.0
_JOB = Job(
    name="daily-backup",
    failing="the daily backup failed, and is tried again every hour",
    every_s=_DAY_S,
    back_off_s=(_AFTER_FAILURE_S,),
    late_after_s=2 * _AFTER_FAILURE_S,
    expected=(Exception,),  # whatever it is, serving goes on, and the message says it
)


@dataclass(slots=True)
class DailyBackup:
    """Backs the data directory up into `backups/`, once a day, and keeps ten. Serving never waits for it."""

    settings: Settings
    has_keys: Callable[[], bool]
    worker: Worker = field(init=False)
    _is_planned: bool = field(default=False, init=False)
    _has_failed: bool = field(default=False, init=False)
    _making: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        """A backup that is being written when the worker must end is not there afterwards, or it is whole."""
        self.worker = Worker(_JOB, self._step)

    def make(self) -> bool:
        """One backup now; whether it worked. What went wrong is said once, until it works again."""
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
            # A second one within a second takes the place of the first.
            made = write_backup(self.settings, directory / f"vpnkeys-{stamp()}.backup", force=True).file
            _thin_out(directory, made)
        _log.info("daily backup: %s", made)

    def files(self) -> tuple[BackupFile, ...]:
        """The backups that there are, newest first; also those that were put aside by a restore."""
        found = [path for path in _listed(self.settings.data_dir / BACKUPS) if path.suffix == ".backup"]
        files = [(path.name, path.stat()) for path in found if not path.name.startswith(".")]
        moments = [(name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)) for name, status in files]
        newest_first = sorted(moments, key=lambda file: (file[2], file[0]), reverse=True)
        return tuple(BackupFile(name, size, at.replace(tzinfo=None)) for name, size, at in newest_first)

    def find(self, name: str) -> Path | None:
        """The file of this name; nothing outside the directory of backups has one."""
        known = {file.name for file in self.files()}
        return self.settings.data_dir / BACKUPS / name if name in known else None

    def first_delay_s(self) -> float:
        """How long after the start the first one is due: a day after the last; at once when keys have none at all."""
        stamps = [
            match[1] for path in _listed(self.settings.data_dir / BACKUPS) if (match := _NAME.fullmatch(path.name))
        ]
        if not stamps:
            return 0.0 if self.has_keys() else _AFTER_START_S
        try:
            last = datetime.strptime(max(stamps), "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return _AFTER_START_S
        due = _DAY_S - (datetime.now(UTC) - last).total_seconds()
        return min(max(due, _AFTER_START_S), _DAY_S)  # a clock that was wrong must not put it off for years

    def _step(self) -> float | None:
        """The first step plans; each one after it makes a backup."""
        if self._is_planned:
            self._make()
            return None
        self._is_planned = True
        try:
            database_file(self.settings)
        except SettingsError:
            _log.info("there is no daily backup of this kind of database; use its own tools")
            return NEVER
        try:
            return self.first_delay_s()
        except Exception:  # noqa: BLE001 - the database does not answer yet
            return _AFTER_START_S


def _listed(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def _thin_out(directory: Path, made: Path) -> None:
    """Keep the newest ten and whatever is not ours. The one made now stays, even where the clock went back."""
    ours = sorted(path for path in _listed(directory) if _NAME.fullmatch(path.name) and path != made)
    for path in ours[: max(len(ours) - (_KEPT - 1), 0)]:
        path.unlink(missing_ok=True)
    for path in _listed(directory):
        if _LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)
