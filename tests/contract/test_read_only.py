"""A disk that took no writes for a while: what was opened meanwhile holds up nobody afterwards."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from vpnkeys.store.sql import engine as opening
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.opening import open_migrated
from vpnkeys.store.sql.store import SqlStore

CONNECTIONS = 4
PATIENCE_S = 20.0


def test_nobody_waits_when_the_disk_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection that is kept open is another one then, and new ones wait for none that only reads."""
    url = f"sqlite:///{tmp_path / 'vpnkeys.db'}"
    open_migrated(url).dispose()
    monkeypatch.setattr(opening, "_DRAIN_S", PATIENCE_S)
    monkeypatch.setattr(opening, "is_protected", lambda _file: True)
    engine = open_engine(url)
    with closing(SqlStore(engine)) as store:
        assert [*store.keys()] == []
        monkeypatch.setattr(opening, "is_protected", lambda _file: False)
        assert [*store.keys()] == []
        began = time.monotonic()
        with ExitStack() as stack:
            for _ in range(CONNECTIONS):
                stack.enter_context(engine.connect())
        assert time.monotonic() - began < PATIENCE_S / 2
