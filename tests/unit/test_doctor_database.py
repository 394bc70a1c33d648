"""The check of the database, on databases that cannot be checked."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from vpnkeys.doctor import records
from vpnkeys.doctor.checks import database
from vpnkeys.doctor.finding import Level
from vpnkeys.doctor.installation import find_installation


def _looked_at(data_dir: Path) -> database.DatabaseFacts:
    with find_installation({"VPNKEYS_DATA_DIR": str(data_dir)}) as installation:
        return database.look(installation)


def test_a_locked_database_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program has it: this is said, and no restore is offered, which would lose what is newer."""
    monkeypatch.setattr(records, "_BUSY_TIMEOUT_S", 0.0)
    with closing(sqlite3.connect(tmp_path / "vpnkeys.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE keys (port)")
        other.execute("BEGIN EXCLUSIVE")
        facts = _looked_at(tmp_path)
    (verdict,) = database.judge(facts)
    assert (facts.damages, facts.unread) == ((), "database is locked")
    assert verdict.level is Level.FAIL
    assert "close other programs" in verdict.message


def test_damage_is_told_in_our_words(tmp_path: Path) -> None:
    """A file that is no database: SQLite's own text may quote what is in it."""
    (tmp_path / "vpnkeys.db").write_bytes(b"no database" * 400)
    facts = _looked_at(tmp_path)
    assert facts.damages == ("its pages cannot be read",)
