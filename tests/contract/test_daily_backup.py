"""The backup that a server makes by itself: when, how many, and that it harms nobody."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.data_dirs import filled

from vpnkeys.ops.daily import DailyBackup
from vpnkeys.settings import Settings
from vpnkeys.store.files.backup import unpack

NAME = "vpnkeys-%Y%m%d-%H%M%S.backup"


@pytest.fixture
def old(tmp_path: Path) -> Settings:
    """A data directory with two keys."""
    return filled(tmp_path / "old", 1, 2)


def test_backups_are_kept_by_day_and_week(old: Settings) -> None:
    """However many were made today; what has another name is nobody's business."""
    directory = old.data_dir / "backups"
    directory.mkdir()
    others = ["before-restore-20250101-000000.backup", "vpnkeys-mine.backup", "vpnkeys-99999999-999999.backup"]
    now = datetime.now(UTC)
    today = [(now - timedelta(microseconds=1, seconds=number)).strftime(NAME) for number in range(1, 31)]
    days = [(now - timedelta(days=day)).strftime(NAME) for day in range(2, 7)]
    weeks = [(now - timedelta(weeks=week, days=now.weekday())).strftime(NAME) for week in range(2, 7)]
    older = [(now - timedelta(weeks=week)).strftime(NAME) for week in range(10, 30)]
    for name in [*others, *today, *days, *weeks, *older, ".vpnkeys-20250101-000000.new.backup"]:
        (directory / name).write_bytes(b"")
    assert DailyBackup(old, lambda: True).make()
    left = {path.name for path in directory.iterdir()}
    (made,) = left - {*others, *today, *days, *weeks, *older}
    assert {*others, *days, *weeks, *today[:9], made} <= left
    assert len(left) <= len(others) + 25
    assert "vpnkeys.db" in unpack((directory / made).read_bytes()).members


def test_the_daily_backup_is_made_when_it_is_due(old: Settings) -> None:
    """At once where keys have none; a day after the last, or soon after the start; whatever the clock has been."""
    assert DailyBackup(old, lambda: True).first_delay_s() == 0
    assert DailyBackup(old, lambda: False).first_delay_s() == 300
    directory = old.data_dir / "backups"
    directory.mkdir()
    now = datetime.now(UTC)
    for ago, low, high in ((48, 300, 300), (20, 14_000, 14_401), (-9000, 86_400, 86_400)):
        for path in directory.iterdir():
            path.unlink()
        (directory / (now - timedelta(hours=ago)).strftime("vpnkeys-%Y%m%d-%H%M%S.backup")).write_bytes(b"")
        assert low <= DailyBackup(old, lambda: True).first_delay_s() <= high


def test_a_daily_backup_that_fails_is_told_once(old: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is raised, and the log is not filled."""
    (old.data_dir / "backups").write_text("in the way")
    daily = DailyBackup(old, lambda: True)
    assert [daily.make(), daily.make(), daily.make()] == [False] * 3
    assert len(caplog.records) == 1
    (old.data_dir / "backups").unlink()
    assert daily.make()


def test_the_daily_backup_runs_beside(old: Settings) -> None:
    """Started and stopped, it has made the first one, and no thread is left."""
    daily = DailyBackup(old, lambda: True)
    daily.worker.start()
    for _ in range(100):
        if list((old.data_dir / "backups").glob("vpnkeys-*.backup")):
            break
        threading.Event().wait(0.05)
    daily.worker.stop()
    assert len(list((old.data_dir / "backups").glob("vpnkeys-*.backup"))) == 1
    assert "daily-backup" not in {thread.name for thread in threading.enumerate()}
