"""What monitoring is told: counters that never fall, and a drift that nobody waits for."""

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from tests.fakes import FakeClock
from tests.support.fleet import FAR_PORTS, Plane, with_agent
from tests.support.memory import World
from tests.support.process import wait_until

from vpnkeys.domain.making import Draft
from vpnkeys.domain.nodes import NodeWish
from vpnkeys.domain.plan import FileState, FileView
from vpnkeys.domain.traffic import Bytes
from vpnkeys.ops.daily import DailyBackup
from vpnkeys.ops.vitals import Monitor, Odometer
from vpnkeys.service.drift import DriftCount, DriftWatch, count_drift
from vpnkeys.service.nodes.nodes import NodeService
from vpnkeys.service.report import Reporter
from vpnkeys.service.traffic import count
from vpnkeys.store.files.certificate import CertificateFiles, load_certificate
from vpnkeys.worker import Workers
from vpnkeys.xray.host.bounds import ConnectionBounds, Most
from vpnkeys.xray.host.connections import ConnectionWatch, Ports


def test_the_odometer_begins_at_zero_and_never_falls() -> None:
    """Whatever was used before is not new; a database that was put back takes nothing away; a new node begins anew."""
    odometer = Odometer()
    totals = []
    for by_node in (
        {1: Bytes(100, 1000), 2: Bytes(5, 50)},
        {1: Bytes(101, 1010), 2: Bytes(5, 50)},
        {2: Bytes(6, 50)},
        {2: Bytes(2, 20)},
        {2: Bytes(3, 20), 3: Bytes(7, 70)},
        {},
    ):
        odometer.look(by_node)
        totals.append(odometer.total)
    assert totals == [(0, 0), (1, 10), (2, 10), (2, 10), (10, 80), (10, 80)]
    assert odometer.by_node == {1: (1, 10), 2: (2, 0), 3: (7, 70)}


@pytest.fixture
def world() -> World:
    """A server with two keys, all in order."""
    made = World()
    made.make()
    made.make()
    return made


def test_no_drift_is_zero(world: World) -> None:
    """On both sides."""
    assert count_drift(world.keys.reconciler) == DriftCount(0, 0)


def test_each_inbound_that_differs_counts_once(world: World) -> None:
    """Missing or too many, in config.json or in the running Xray; a file that cannot be read lacks all."""
    running = world.node.running
    assert running is not None
    del running[world.make().tag]
    assert count_drift(world.keys.reconciler) == DriftCount(0, 1)
    del running[world.keys.list()[0].tag]
    assert count_drift(world.keys.reconciler) == DriftCount(0, 2)
    wanted = len(world.node.file.inbounds)
    world.node.file = FileView(FileState.OK, dict(list(world.node.file.inbounds.items())[1:]))
    assert count_drift(world.keys.reconciler) == DriftCount(1, 2)
    world.node.file = FileView(FileState.INVALID, {})
    assert count_drift(world.keys.reconciler) == DriftCount(wanted, 2)


def test_a_wrong_frame_is_drift_and_a_silent_xray_is_unknown(world: World) -> None:
    """Somebody changed the routing rules; Xray is down."""
    world.node.file = FileView(FileState.OK, world.node.file.inbounds, base_ok=False)
    world.node.end_xray()
    assert count_drift(world.keys.reconciler) == DriftCount(1, None)


def test_nobody_waits_for_a_look_and_looks_are_rare(world: World) -> None:
    """Whoever asks gets what was seen last, at once, also while Xray is being changed; every 30 s somebody looks."""
    now = [100.0]
    watch = DriftWatch(world.keys.reconciler, clock=lambda: now[0])
    with world.keys.reconciler.changing:
        answers: list[DriftCount | None] = []
        asking = threading.Thread(target=lambda: answers.append(watch.last()))
        asking.start()
        asking.join(10)
        assert answers == [None]
    assert wait_until(lambda: watch.last() == DriftCount(0, 0))
    world.node.end_xray()
    now[0] += 29.9
    assert watch.last() == DriftCount(0, 0)
    now[0] += 0.1
    assert wait_until(lambda: watch.last() == DriftCount(0, None))


def test_what_cannot_be_told_is_not_told(world: World) -> None:
    """A database that does not answer makes the drift unknown, not the last one for ever."""
    now = [100.0]
    watch = DriftWatch(world.keys.reconciler, clock=lambda: now[0])
    assert wait_until(lambda: watch.last() is not None)
    world.store.memory.answering = False
    now[0] += 30
    assert wait_until(lambda: watch.last() is None)


@dataclass(slots=True)
class OneBackup:
    """The backups of a server that made one."""

    created_at: datetime

    def files(self) -> tuple["OneBackup", ...]:
        """It."""
        return (self,)


@dataclass(slots=True)
class Process:
    """An Xray that never ended."""

    restarts: int = 0


def monitor_of(world: World, served: CertificateFiles, clock: FakeClock) -> Monitor:
    """The monitor of this server, which has made a backup a minute ago."""
    backups = cast("DailyBackup", OneBackup(clock.now() - timedelta(minutes=1)))
    bounds = ConnectionBounds("vpnkeys_0_bounds", Most(0, 0))
    connections = ConnectionWatch(Ports(range(10001, 10003), {443}, None), bounds, lambda: 1)
    return Monitor(Process(), backups, served, DriftWatch(world.keys.reconciler), Workers(), connections, clock)


def test_ages_are_told_by_the_server_s_clock(world: World, tmp_path: Path) -> None:
    """Of the sample, the backup and the certificate alike."""
    served = load_certificate(tmp_path, "203.0.113.7")
    ends_at = x509.load_pem_x509_certificate(served.cert.read_bytes()).not_valid_after_utc.replace(tzinfo=None)
    clock = FakeClock(ends_at - timedelta(hours=1))
    count(world.store, world.node, clock)
    monitor = monitor_of(world, served, clock)
    clock.advance(seconds=10)
    vitals = monitor.look()
    assert (vitals.sampling_lag_s, vitals.backup_age_s, vitals.certificate_expires_in_s) == (10, 70, 3590)


def test_each_node_is_told(tmp_path: Path) -> None:
    """The built-in one has no lag, no report and no versions of its own; one elsewhere has what it reported."""
    plane = Plane()
    agent = with_agent(plane, "far")
    world = plane.world
    monitor = monitor_of(world, load_certificate(tmp_path, "203.0.113.7"), world.clock)
    reporter = Reporter(world.keys.reconciler, world.keys.pool)
    monitor.nodes = NodeService(reporter, world.keys.pool, world.clock, plane.board, world.waiting.now).glance
    key = plane.keys.create(Draft("x"), None, NodeWish(node="far"))
    agent.world.node.carry(agent.world.customer(agent.world.keys.get(key.id)), 3, 30)
    agent.world.enforcer.traffic.collect()
    agent.report()
    world.clock.advance(seconds=20)
    local, far = monitor.look().nodes
    assert (local.name, local.state, local.keys, local.lag_s, local.versions) == ("local", "up", 0, None, None)
    assert local.seen_age_s is None
    assert (far.name, far.state, far.keys, far.places, far.failed) == ("far", "silent", 1, len(FAR_PORTS), 0)
    assert (far.traffic, far.lag_s, far.seen_age_s, far.versions) == (Bytes(3, 30), 0.0, 20.0, ("0", ""))
    world.store.memory.answering = False
    assert monitor.look().nodes == ()
