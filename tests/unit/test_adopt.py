"""When a server restarts an Xray that it finds, and that it never does so twice."""

import logging
import os
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from tests.unit.test_launch import POOL, document

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.traffic import Samples
from vpnkeys.ops.adopt import XrayAdopter
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.service.traffic import TrafficService
from vpnkeys.xray.config.file import base_digest
from vpnkeys.xray.host.processes import epoch_of
from vpnkeys.xray.node import LocalNode
from vpnkeys.xray.process.launch import Start, record_path

PID = os.getpid()
CONTENT = document(10001)


@dataclass(slots=True)
class Found:
    """A server's parts as far as they matter, and in which order they were used."""

    run: Path
    done: list[str] = field(default_factory=list)
    hangs: bool = False
    stays_away: bool = False
    changing: threading.RLock = field(default_factory=threading.RLock)

    @property
    def file(self) -> Any:  # noqa: ANN401 - a part of LocalNode
        """Where config.json is."""
        return SimpleNamespace(path=self.run / "config.json", base=SimpleNamespace(pool=POOL))

    @property
    def api_socket(self) -> Path:
        """Xray's."""
        return self.run / "api.sock"

    def quiesce(self) -> Samples:
        """The last sample."""
        if self.hangs:
            raise XrayUnavailable("hangs")
        self.done.append("quiesce")
        return Samples("", {})

    def restart(self) -> None:
        """Of Xray."""
        self.done.append("restart")
        if self.stays_away:
            raise XrayUnavailable("does not come back")

    def close_epoch(self, last: Samples) -> None:
        """Merge it."""
        self.done.append("close")

    def held(self) -> AbstractContextManager[None]:
        """Nobody else samples."""
        return nullcontext()

    def expect_drift(self) -> None:
        """As the reconciler's."""

    def repair_soon(self) -> None:
        """Live."""
        self.done.append("repair")

    def note(self, start: Start) -> None:
        """What the launcher noted."""
        record_path(self.run).write_bytes(orjson.dumps(asdict(start)))


@pytest.fixture
def found(tmp_path: Path) -> Found:
    """With a config.json."""
    (tmp_path / "config.json").write_bytes(orjson.dumps(CONTENT))
    return Found(tmp_path)


def adopter_of(found: Found) -> XrayAdopter:
    """The one under test."""
    return XrayAdopter(cast("LocalNode", found), cast("Reconciler", found), cast("TrafficService", found))


STARTED = Start(epoch_of(PID), base_digest(CONTENT), 0, 0.0)
IN_ORDER = ["quiesce", "close", "restart", "repair"]


def test_what_is_wanted_is_left_in_peace(found: Found) -> None:
    """Repaired live, each time it is seen."""
    found.note(STARTED)
    it = adopter_of(found)
    it.adopt(PID)
    it.adopt(PID)
    assert found.done == ["repair", "repair"]


@pytest.mark.parametrize("start", [replace(STARTED, base="other"), replace(STARTED, epoch="a-1-1"), None])
def test_anything_else_is_restarted_once(found: Found, start: Start | None, caplog: pytest.LogCaptureFixture) -> None:
    """Another base, another life's note, or none: in order, with one line; a second time only a line is left."""
    caplog.set_level(logging.WARNING)
    if start is not None:
        found.note(start)
    it = adopter_of(found)
    it.adopt(PID)
    assert found.done == IN_ORDER
    assert len(caplog.messages) == 1
    it.adopt(PID)
    assert found.done == [*IN_ORDER, "repair"]
    assert "vpnkeys xray run" in caplog.messages[1]


def test_one_that_hangs_is_restarted_without_a_sample(found: Found) -> None:
    """There is none to be had."""
    found.hangs = True
    adopter_of(found).adopt(PID)
    assert found.done == ["restart", "repair"]


def test_one_that_stays_away_is_repaired_when_it_comes(found: Found) -> None:
    """The server goes on."""
    found.stays_away = True
    adopter_of(found).adopt(PID)
    assert found.done == IN_ORDER


def test_without_a_config_nothing_is_restarted(found: Found) -> None:
    """It would not start again."""
    (found.run / "config.json").write_text("{")
    adopter_of(found).adopt(PID)
    assert found.done == ["repair"]
