"""A day of a server that nobody looks after: every ten minutes of it something breaks, and it comes back by itself.

The service's clock runs fast, so that expiries, windows and history see a whole day. By default one hour passes, in
which each fault comes once; `./test --soak` makes it the twenty-four.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import pytest
from tests.support.agreement import agreement
from tests.support.clients import XrayClient
from tests.support.counting import gaps, total_bytes
from tests.support.disks import needs_mounts, small_disk
from tests.support.faults import FAULTS, Scene
from tests.support.keys import Key, carries, link_of, list_keys, make_key
from tests.support.process import REPOSITORY
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite, needs_mounts]

BETWEEN_FAULTS = timedelta(minutes=10)
FACTOR = 120.0
BACK_WITHIN_S = 60.0
MOST_GROWTH = 0.05
DAILY = ("service killed", "Xray killed", "database locked", "disk full", "certificate expired", "target dead")
_LASTS_S = {"disk full": 6.0, "target dead": 6.0}


@dataclass
class Day:
    """A service, what is promised to one customer of it, and what was seen of its memory."""

    scene: Scene
    server: ByteServer
    resident: Key
    locked_s: float
    counted: int = 0
    memory_by_life: dict[int, list[int]] = field(default_factory=dict)

    @property
    def service(self) -> Service:
        """The service under test."""
        return self.scene.service

    def live_through(self, fault: str) -> None:
        """Let something break, and see that everything is back and right without a hand."""
        with FAULTS[fault].during(self.scene):
            time.sleep(self.locked_s if fault == "database locked" else _LASTS_S.get(fault, 0.0))
        self.service.wait_healthy(BACK_WITHIN_S)
        self.service.wait_ready(BACK_WITHIN_S)
        self.service.child.wait_for(lambda: agreement(self.service) == [], "agreement", BACK_WITHIN_S)
        self._check_customer(fault)
        self._let_keys_come_and_go(fault)

    def _check_customer(self, fault: str) -> None:
        """The same link works, and nothing that was counted is lost."""
        with XrayClient(link_of(self.service, self.resident)) as client:
            assert carries(client.socks, self.server), fault
        total = total_bytes(self.service, self.resident)
        assert total > self.counted, fault
        self.counted = total

    def _let_keys_come_and_go(self, fault: str) -> None:
        """One is made and expires by the fast clock; nobody else's hand is in it."""
        passing = make_key(self.service, f"after {fault}")
        until = (self._now() + timedelta(minutes=5)).isoformat()
        assert self.service.client.patch(f"/api/keys/{passing['id']}", json={"expires_at": until}).status_code == 200

        def has_expired() -> bool:
            shown = {key["id"]: key["status"] for key in list_keys(self.service)}
            return bool(shown[passing["id"]] == "expired")

        self.service.child.wait_for(has_expired, "expiry", BACK_WITHIN_S)
        assert self.service.client.delete(f"/api/keys/{passing['id']}").status_code == 200
        assert agreement(self.service) == []

    def _now(self) -> datetime:
        """What the service's clock says."""
        answer = self.service.client.get(f"/api/keys/{self.resident['id']}/traffic/history")
        return datetime.fromisoformat(answer.json()["to"])

    def note_memory(self) -> None:
        """What the service's process holds now."""
        status = Path(f"/proc/{self.service.pid}/status").read_text(encoding="ascii")
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        self.memory_by_life.setdefault(self.service.pid, []).append(int(line.split()[1]))


@contextmanager
def _day(directory: Path, server: ByteServer, locked_s: float) -> Iterator[Day]:
    with RealityTarget(("one.example", "two.example")) as target, small_disk(directory, 32) as disk:
        service = Service(target, data_dir=disk, egress_allow=[server.egress_rule], timeout=60)
        service.command = ("-m", "tests.support.fast_serve")
        service.env["FAST_CLOCK"] = f"{FACTOR}:{time.time()}"
        service.env["PYTHONPATH"] = os.pathsep.join([service.env["PYTHONPATH"], str(REPOSITORY)])
        with service:
            service.wait_ready()
            yield Day(Scene(service, target), server, make_key(service, "resident"), locked_s)


def _live(day: Day, hours: float) -> None:
    """One fault after the other, each at its time."""
    began = time.monotonic()
    count = round(timedelta(hours=hours) / BETWEEN_FAULTS)
    for number, fault in enumerate(islice(cycle(DAILY), count)):
        due = began + number * BETWEEN_FAULTS.total_seconds() / FACTOR
        time.sleep(max(0.0, due - time.monotonic()))
        day.live_through(fault)
        day.note_memory()
    assert "Traceback" not in day.service.log()
    assert gaps(day.service, day.resident), "killing Xray must be told"


def _assert_memory_flat(day: Day) -> None:
    """Each life begins with its first faults, its warm-up; later lives hold no more than earlier ones."""
    lives = [median(readings[-2:]) for readings in day.memory_by_life.values() if len(readings) > 2]
    assert lives[-1] <= lives[0] * (1 + MOST_GROWTH), lives


def test_an_hour_of_faults(tmp_path: Path, byte_server: ByteServer) -> None:
    """Every fault once: always back without help, always consistent."""
    with _day(tmp_path / "d", byte_server, locked_s=6.0) as day:
        _live(day, hours=1)


@pytest.mark.soak
@pytest.mark.timeout(5400)
def test_twenty_four_hours_of_faults(tmp_path: Path, byte_server: ByteServer) -> None:
    """The whole day, with the database locked for thirty seconds each time, and no memory lost."""
    with _day(tmp_path / "d", byte_server, locked_s=30.0) as day:
        _live(day, hours=24)
        _assert_memory_flat(day)
