"""Starts the parts of a server in order, and stops them in reverse."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from vpnkeys.bootstrap.certificate import Issuing
from vpnkeys.clock import SystemClock
from vpnkeys.domain.errors import Unavailable
from vpnkeys.ops.daily import DailyBackup
from vpnkeys.ops.overview import OverviewKeeper
from vpnkeys.ops.startover import accept_start
from vpnkeys.ops.vitals import Monitor
from vpnkeys.service.drift import DriftWatch
from vpnkeys.service.health.health import Health
from vpnkeys.service.keys import KeyService
from vpnkeys.service.limits.enforcer import Enforcer
from vpnkeys.service.limits.quotas import QuotaWatch
from vpnkeys.service.limits.striking import enforce_before_start
from vpnkeys.service.nodes.elsewhere import Elsewhere
from vpnkeys.service.nodes.lease import release_all
from vpnkeys.service.nodes.limits import FarLimits
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.service.report import Reporter
from vpnkeys.service.selftest import SelfTest
from vpnkeys.service.sender import Sender
from vpnkeys.service.subscriptions import SubscriptionService
from vpnkeys.service.system import SystemService
from vpnkeys.service.tokens import TokenService
from vpnkeys.service.traffic import TrafficService
from vpnkeys.service.webhooks import WebhookService
from vpnkeys.settings import Settings
from vpnkeys.store.files.certificate import CertificateFiles
from vpnkeys.worker import Workers
from vpnkeys.xray.host.connections import ConnectionWatch
from vpnkeys.xray.host.guard import Guard
from vpnkeys.xray.node import LocalNode
from vpnkeys.xray.process.child import XrayProcess
from vpnkeys.xray.process.hang import HangWatch
from vpnkeys.xray.process.unit import XrayUnit

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Server:
    """Holds the parts of a server, ready to start. `new_api_key` is set only when it was generated just now."""

    settings: Settings
    clock: SystemClock
    keys: KeyService
    traffic: TrafficService
    reporter: Reporter
    system: SystemService
    elsewhere: Elsewhere
    far_limits: FarLimits
    enforcer: Enforcer
    quotas: QuotaWatch
    reconciler: Reconciler
    health: Health
    selftest: SelfTest
    tokens: TokenService
    subscriptions: SubscriptionService
    webhooks: WebhookService
    sender: Sender
    new_api_key: str | None
    certificate: CertificateFiles
    issuing: Issuing
    node: LocalNode
    process: XrayProcess | XrayUnit
    hang_watch: HangWatch
    xray_version: str
    guard: Guard | None
    connections: ConnectionWatch
    lock: ExitStack
    daily_backup: DailyBackup
    monitor: Monitor
    overview: OverviewKeeper
    drift: DriftWatch
    workers: Workers

    def start(self) -> None:
        """Put config.json right, start Xray (or find the one that runs) and repair it in the background."""
        if self.guard is not None:
            self.guard.watch()
        if problem := self.connections.install():
            _log.warning("connections to the keys' ports have no bound in the kernel: %s", problem)
        # Limits and file before Xray: it starts from config.json, and must not let in a key that expired meanwhile.
        enforce_before_start(self.keys.changer)
        self.reconciler.taken.hold()
        keys = self.reconciler.stops.own_keys()
        self.reconciler.site = self.reconciler.closed_doors.tried(self.reconciler.site, keys)
        self.node.file.prepare(self.reconciler.desired(keys))
        accept_start(self.settings.data_dir)
        self.node.prober.tidy()
        self.process.start()
        self.workers.start()

    def stop(self) -> None:
        """Take the last sample, end Xray unless it is a unit of its own, and release everything."""
        self.workers.stop()  # first: a worker could change Xray or the database after the last sample
        release_all(self.reconciler.store, self.elsewhere.board.owner)
        self.reconciler.write_stops()
        if self.process.outlives_us:
            self._leave_xray()
        else:
            self._end_xray()
        self.node.close()
        self.reconciler.store.close()
        self.lock.close()  # last: the next server may open this data directory from here on

    def _leave_xray(self) -> None:
        """Leave Xray running: its connections go on, and the kernel's rules stay, as they limit those connections."""
        self.process.stop()
        with self.reconciler.changing:
            self._take_last_sample(self.traffic.collect)
        self.node.speed.stop_watching()
        self.connections.bounds.stop_watching()
        if self.guard is not None:
            self.guard.stop_watching()

    def _end_xray(self) -> None:
        # Under the lock and without a pause: bytes that pass between the last sample and the end would be lost.
        with self.reconciler.changing:
            self._take_last_sample(lambda: self.traffic.close_epoch(self.node.quiesce()))
            self.process.stop()
        tables = [self.node.speed.remove, self.connections.bounds.remove]
        if self.guard is not None:
            tables.append(self.guard.remove)
        with ThreadPoolExecutor(len(tables), "tables") as pool:  # each waits for a program of its own
            for removing in [pool.submit(remove) for remove in tables]:
                removing.result()

    def _take_last_sample(self, take: Callable[[], None]) -> None:
        try:
            take()
        except Unavailable as error:
            _log.warning("ending without a last sample of traffic: %s", error)
