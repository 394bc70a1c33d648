"""Constructs a control plane that runs no Xray, whose keys all live on nodes elsewhere."""

import secrets
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from vpnkeys.bootstrap.certificate import Issuing, build_issuing
from vpnkeys.bootstrap.node import build_watch
from vpnkeys.bootstrap.parts import identity_of, lease, node_workers, reload_key_pair, subscriptions_of
from vpnkeys.bootstrap.webhook_client import LazyWebhookClient
from vpnkeys.clock import SystemClock
from vpnkeys.domain.errors import StartRefused
from vpnkeys.domain.key import Keys
from vpnkeys.domain.nodes import LOCAL
from vpnkeys.interfaces import Store
from vpnkeys.ops.backup import take_whole
from vpnkeys.ops.daily import DailyBackup
from vpnkeys.ops.data_dir import api_key, certificate, key_pair, reserve_keeper
from vpnkeys.ops.overview import OverviewKeeper
from vpnkeys.ops.startover import refuse_starting_over
from vpnkeys.ops.vitals import Monitor, host_facts
from vpnkeys.service.change.changer import KeyChanger
from vpnkeys.service.drift import DriftWatch
from vpnkeys.service.health.checks import HostFacts
from vpnkeys.service.health.health import Health
from vpnkeys.service.health.questions import Questions
from vpnkeys.service.keys import KeyService
from vpnkeys.service.limits.enforcer import Enforcer
from vpnkeys.service.nodes.absent import AbsentNode, AbsentProcess
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.nodes.elsewhere import Elsewhere
from vpnkeys.service.nodes.lease import release_all
from vpnkeys.service.nodes.limits import FarLimits
from vpnkeys.service.nodes.retention import Retention
from vpnkeys.service.nodes.watch import NodeWatch
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.service.report import Reporter
from vpnkeys.service.restarts import Restarts
from vpnkeys.service.selftest import SelfTest
from vpnkeys.service.sender import Sender
from vpnkeys.service.subscriptions import SubscriptionService
from vpnkeys.service.system import SystemService
from vpnkeys.service.tokens import TokenService
from vpnkeys.service.traffic import TrafficService
from vpnkeys.service.webhooks import WebhookService
from vpnkeys.settings import Settings
from vpnkeys.store.files.certificate import CertificateFiles
from vpnkeys.store.files.secrets import REALITY_FILE
from vpnkeys.store.files.stop_journal import FileStopJournal
from vpnkeys.store.sql.opening import open_migrated, sqlite_file
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.worker import Workers


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Holds the parts of a control plane, by the names that they have in a `Server`."""

    settings: Settings
    keys: KeyService
    traffic: TrafficService
    reporter: Reporter
    system: SystemService
    elsewhere: Elsewhere
    far_limits: FarLimits
    enforcer: Enforcer
    reconciler: Reconciler
    health: Health
    selftest: SelfTest
    tokens: TokenService
    subscriptions: SubscriptionService
    webhooks: WebhookService
    new_api_key: str | None
    certificate: CertificateFiles
    issuing: Issuing
    lock: ExitStack
    daily_backup: DailyBackup
    monitor: Monitor
    overview: OverviewKeeper
    workers: Workers
    xray_version: str = ""

    def start(self) -> None:
        """Start its workers."""
        self.workers.start()

    def stop(self) -> None:
        """Stop its workers, and release everything."""
        self.workers.stop()
        release_all(self.reconciler.store, self.elsewhere.board.owner)
        self.reconciler.store.close()
        self.lock.close()  # last: the next server may open this data directory from here on


def build_plane(settings: Settings, *, start_empty: bool = False) -> ControlPlane:
    """Construct a control plane on its data directory, which is made when it is missing.

    Raises SettingsError when the data directory cannot serve, StartRefused when keys live on the built-in node, and
    another VpnKeysError when a part of it does not answer.
    """
    lock = take_whole(settings.data_dir)
    if sqlite_file(settings.database_url) is not None:  # else nothing in the data directory belongs to keys
        refuse_starting_over(settings, start_empty=start_empty)
    api_key_hash, new_api_key = api_key(settings)
    core = _core(settings)
    store, clock, reconciler = core.store, SystemClock(), core.reconciler
    post, issuing, served = LazyWebhookClient(), build_issuing(settings), certificate(settings)
    keys = KeyService(core.changer, settings.port_range, core.elsewhere)
    board = core.elsewhere.board
    reporter, workers, drift = Reporter(reconciler, settings.port_range), Workers(), DriftWatch(reconciler)
    backups = DailyBackup(settings, lambda: bool(store.keys()))
    questions = Questions(None, partial(_facts, settings, backups, served, issuing), store, clock)
    health = Health(reconciler, workers.statuses, questions, can_cut=True, full_cone=True, has_node=False)
    connections = build_watch(settings, reconciler.site, None)  # never started: there are no ports of keys
    monitor = Monitor(AbsentProcess(), backups, served, drift, workers, connections, clock, health.codes)
    plane = ControlPlane(
        settings=settings,
        keys=keys,
        traffic=core.traffic,
        reporter=reporter,
        system=_system_of(settings, core.changer, reporter, core.traffic),
        elsewhere=core.elsewhere,
        far_limits=FarLimits(board, clock),
        enforcer=Enforcer(keys, core.traffic),
        reconciler=reconciler,
        health=health,
        selftest=SelfTest(reconciler.node),
        tokens=TokenService(store, clock, api_key_hash.matches),
        subscriptions=subscriptions_of(settings, reconciler, clock, served),
        webhooks=WebhookService(store, clock, post),
        new_api_key=new_api_key,
        certificate=served,
        issuing=issuing,
        lock=lock,
        daily_backup=backups,
        monitor=monitor,
        overview=OverviewKeeper(settings.data_dir, store, backups, served, clock),
        workers=workers,
    )
    _add_workers(plane, Sender(store, post, clock, turn=lease(board, "webhooks")))
    return plane


def _facts(settings: Settings, backups: DailyBackup, served: CertificateFiles, issuing: Issuing) -> HostFacts:
    """Return what this host says of itself; no link has its address, and no key its key pair."""
    found = host_facts(settings, backups, served, SystemClock(), issuing.fault)
    missing = tuple(name for name in found.secrets_missing if name != REALITY_FILE)
    return replace(found, address_fault="", secrets_missing=missing)


@dataclass(frozen=True, slots=True)
class _Core:
    """The parts by which keys change and traffic is counted."""

    store: SqlStore
    reconciler: Reconciler
    traffic: TrafficService
    changer: KeyChanger
    elsewhere: Elsewhere


def _core(settings: Settings) -> _Core:
    # A name of its own, that no copy of a data directory has too.
    store = SqlStore(open_migrated(settings.database_url), secrets.token_hex(16))
    clock, nothing = SystemClock(), AbsentNode()
    _refuse_local_keys(store)
    # Without server names: each agent reports those of its node.
    identity = replace(identity_of(settings, key_pair(settings)), server_names=())
    reconciler = Reconciler(store, nothing, nothing, identity)
    traffic = TrafficService(store, nothing, clock, has_node=False)
    changer = KeyChanger(reconciler, clock, used_bytes=traffic.usage.read)
    elsewhere = Elsewhere(Board(store), clock, changer.ending, settings.port_range, frozenset, has_local=False)
    return _Core(store, reconciler, traffic, changer, elsewhere)


def _refuse_local_keys(store: Store) -> None:
    """Raise StartRefused when keys live on the built-in node, which nothing would keep here."""
    many = len(Keys.of(store.keys()).on(LOCAL.id))
    if many:
        msg = (
            f"{many} keys live on the built-in node, local, which a control plane without a node does not have: move "
            "them to other nodes or delete them first, or start it with its node, without --no-node."
        )
        raise StartRefused(msg)


def _system_of(settings: Settings, changer: KeyChanger, reporter: Reporter, traffic: TrafficService) -> SystemService:
    reload = partial(reload_key_pair, settings.data_dir, changer.reconciler)
    return SystemService(changer, reporter, traffic, settings.port_range, reload, Restarts(only_needed=True))


def _add_workers(plane: ControlPlane, sender: Sender) -> None:
    """Let `/health` have the silent nodes, and add the workers: in order, as each may use those before it."""
    board = plane.elsewhere.board
    node_watch = NodeWatch(board, plane.keys.clock, lease(board, "nodes"))
    plane.health.silent_nodes = node_watch.silent
    plane.workers.add(
        *node_workers(plane.settings, board, plane.far_limits, node_watch),
        Retention(plane.traffic, lease(board, "retention")).worker,
        plane.overview.worker,
        plane.daily_backup.worker,
        reserve_keeper(plane.settings.data_dir, FileStopJournal(plane.settings.data_dir)),
        sender.worker,
        *plane.issuing.workers,
        *plane.health.workers,
    )
