"""Constructs the parts of a server, and connects them."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from vpnkeys.bootstrap.certificate import Issuing, build_issuing
from vpnkeys.bootstrap.node import NodeQuestions, build_guard, build_node, build_watch, xray_command
from vpnkeys.bootstrap.parts import identity_of, lease, node_workers, reload_key_pair, subscriptions_of
from vpnkeys.bootstrap.server import Server
from vpnkeys.bootstrap.webhook_client import LazyWebhookClient
from vpnkeys.clock import SystemClock
from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.ops.adopt import XrayAdopter
from vpnkeys.ops.backup import take_whole
from vpnkeys.ops.config_watch import ConfigWatch
from vpnkeys.ops.daily import DailyBackup
from vpnkeys.ops.data_dir import api_key, certificate, key_pair, reserve_keeper
from vpnkeys.ops.overview import OverviewKeeper
from vpnkeys.ops.startover import refuse_starting_over
from vpnkeys.ops.vitals import Monitor, connection_facts, host_facts
from vpnkeys.service.change.at_doors import with_doors
from vpnkeys.service.change.changer import KeyChanger
from vpnkeys.service.change.late_calls import LateCalls
from vpnkeys.service.change.port_watch import PortWatch
from vpnkeys.service.drift import DriftWatch
from vpnkeys.service.health.checks import HostFacts
from vpnkeys.service.health.health import Health
from vpnkeys.service.health.questions import Questions
from vpnkeys.service.keys import KeyService
from vpnkeys.service.limits.enforcer import Enforcer
from vpnkeys.service.limits.quotas import QuotaWatch
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.nodes.elsewhere import Elsewhere
from vpnkeys.service.nodes.limits import FarLimits
from vpnkeys.service.nodes.retention import Retention
from vpnkeys.service.nodes.watch import NodeWatch
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.service.report import Reporter
from vpnkeys.service.restarts import Restarts
from vpnkeys.service.sampler import Sampler
from vpnkeys.service.selftest import SelfTest
from vpnkeys.service.sender import Sender
from vpnkeys.service.system import SystemService
from vpnkeys.service.tokens import TokenService
from vpnkeys.service.traffic import TrafficService
from vpnkeys.service.webhooks import WebhookService
from vpnkeys.settings import Settings
from vpnkeys.store.files.certificate import CertificateFiles
from vpnkeys.store.files.stop_journal import FileStopJournal
from vpnkeys.store.sql.opening import open_migrated
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.worker import Worker, Workers
from vpnkeys.xray.config.start import refusal_alone
from vpnkeys.xray.host import sockets
from vpnkeys.xray.host.connections import ConnectionWatch
from vpnkeys.xray.host.guard import Guard
from vpnkeys.xray.host.listening import XrayListening
from vpnkeys.xray.host.ports import has_address
from vpnkeys.xray.node import LocalNode
from vpnkeys.xray.process.binary import XrayBinary
from vpnkeys.xray.process.child import XrayProcess
from vpnkeys.xray.process.hang import HangWatch
from vpnkeys.xray.process.unit import XrayUnit


@dataclass(frozen=True, slots=True)
class _Core:
    """The parts by which keys change and traffic is counted."""

    site: ServerIdentity
    guard: Guard | None
    node: LocalNode
    reconciler: Reconciler
    clock: SystemClock
    traffic: TrafficService
    journal: FileStopJournal
    changer: KeyChanger
    elsewhere: Elsewhere
    process: XrayProcess | XrayUnit


def build(settings: Settings, xray: XrayBinary, *, start_empty: bool = False) -> Server:
    """Construct a server on its data directory, which is made when it is missing.

    With `start_empty` a lost database or secret is made anew although there were keys.
    Raises SettingsError when the data directory cannot serve, VpnKeysError when a part of it does not answer.
    """
    lock, (api_key_hash, new_api_key) = _lock_what_is_whole(settings, start_empty=start_empty), api_key(settings)
    core = _core(settings, xray)
    reconciler, traffic, clock = core.reconciler, core.traffic, core.clock
    post, issuing = LazyWebhookClient(), build_issuing(settings)
    keys = KeyService(core.changer, settings.port_range, core.elsewhere)
    reporter = Reporter(reconciler, settings.port_range)
    daily_backup, served = DailyBackup(settings, lambda: bool(reconciler.store.keys())), certificate(settings)
    drift, config, workers = DriftWatch(reconciler), ConfigWatch(core.node, reconciler, core.process), Workers()
    look, connections = _host(settings, daily_backup, served, issuing), build_watch(settings, core.site, core.guard)
    hang_watch = HangWatch(core.process, core.node.control.ping, traffic.collect, connections.pid)
    health = _health(look, hang_watch, config, workers, connections)
    server = Server(
        settings=settings,
        clock=clock,
        keys=keys,
        traffic=traffic,
        reporter=reporter,
        system=_system_of(settings, core.changer, reporter, traffic),
        enforcer=Enforcer(keys, traffic),
        quotas=QuotaWatch(keys, traffic),
        reconciler=reconciler,
        health=health,
        selftest=SelfTest(core.node),
        tokens=TokenService(reconciler.store, clock, api_key_hash.matches),
        subscriptions=subscriptions_of(settings, reconciler, clock, served),
        webhooks=WebhookService(reconciler.store, clock, post),
        sender=Sender(reconciler.store, post, clock, turn=lease(core.elsewhere.board, "webhooks")),
        new_api_key=new_api_key,
        certificate=served,
        issuing=issuing,
        node=core.node,
        process=core.process,
        hang_watch=hang_watch,
        elsewhere=core.elsewhere,
        far_limits=FarLimits(core.elsewhere.board, clock),
        xray_version=xray.version,
        guard=core.guard,
        connections=connections,
        lock=lock,
        daily_backup=daily_backup,
        monitor=Monitor(core.process, daily_backup, served, drift, workers, connections, clock, health.codes),
        overview=OverviewKeeper(settings.data_dir, reconciler.store, daily_backup, served, clock),
        drift=drift,
        workers=workers,
    )
    _connect(server, config.worker, reserve_keeper(settings.data_dir, core.journal))
    return server


def _core(settings: Settings, xray: XrayBinary) -> _Core:
    engine = open_migrated(settings.database_url)  # under the lock: no other server migrates at the same time
    pair, guard = key_pair(settings), build_guard(settings)
    store = SqlStore(engine, pair.public_key)
    site = with_doors(identity_of(settings, pair), store.doors())
    # Node, process and reconciler call each other, hence the lambdas: none is called before all of them exist.
    node = build_node(settings, xray, guard, _questions_of_node(lambda: reconciler, lambda: process))
    reconciler, clock = _reconciler_of(settings, store, node, site), SystemClock()
    traffic, journal = TrafficService(reconciler.store, node, clock), FileStopJournal(settings.data_dir)
    reconciler.stops.journal, reconciler.stops.samples = journal, traffic.unstored
    doors = reconciler.closed_doors
    doors.has_address, doors.refusal = has_address, partial(refusal_alone, node.file)
    doors.targets = lambda: node.targets.door_problems
    changer = KeyChanger(reconciler, clock, used_bytes=traffic.usage.read)
    elsewhere = Elsewhere(Board(reconciler.store), clock, changer.ending, settings.port_range, node.ready_names)
    process = _xray_of(settings, xray, XrayAdopter(node, reconciler, traffic))
    return _Core(site, guard, node, reconciler, clock, traffic, journal, changer, elsewhere, process)


def _system_of(settings: Settings, changer: KeyChanger, reporter: Reporter, traffic: TrafficService) -> SystemService:
    reload = partial(reload_key_pair, settings.data_dir, changer.reconciler)
    restarts = Restarts(only_needed=settings.sync_restarts == "needed")
    return SystemService(changer, reporter, traffic, settings.port_range, reload, restarts)


def _questions_of_node(
    reconciler: Callable[[], Reconciler], process: Callable[[], XrayProcess | XrayUnit]
) -> NodeQuestions:
    return NodeQuestions(
        site=lambda: reconciler().site,
        names_in_use=lambda: {key.sni for key in reconciler().stops.own_keys() if key.serves},
        restart_process=lambda: process().restart(),
    )


def _lock_what_is_whole(settings: Settings, *, start_empty: bool) -> ExitStack:
    lock = take_whole(settings.data_dir)
    refuse_starting_over(settings, start_empty=start_empty)
    return lock


def _connect(server: Server, config_watch: Worker, reserve: Worker) -> None:
    """Let the metrics have the problems of `/health`, and `/health` the silent nodes; and add the workers.

    They are in order: each may use those before it, and all use Xray, which starts first and ends last.
    """
    server.monitor.problems, board = server.health.codes, server.elsewhere.board
    node_watch = NodeWatch(board, server.keys.clock, lease(board, "nodes"))
    server.health.silent_nodes = node_watch.silent
    every_s = server.settings.traffic_interval_s
    ports = PortWatch(server.reconciler, XrayListening(server.connections.pid).look)
    sampler = (Sampler(server.traffic, every_s).worker,) if every_s > 0 else ()
    server.workers.add(
        server.reconciler.worker,
        server.node.prober.worker,
        server.node.targets.worker,
        server.hang_watch.worker,
        config_watch,
        ports.worker,
        *sampler,
        server.connections.worker,
        server.enforcer.worker,
        server.quotas.worker,
        *node_workers(server.settings, board, server.far_limits, node_watch),
        Retention(server.traffic, lease(board, "retention")).worker,
        server.drift.worker,
        server.overview.worker,
        server.daily_backup.worker,
        reserve,
        server.sender.worker,
        *server.issuing.workers,
        *server.health.workers,
    )
    guard = () if server.guard is None else (server.guard.worker,)
    # Started and stopped by their owners, and only shown in the metrics with the others.
    tables = (server.node.speed.worker, server.connections.bounds.worker)
    server.workers.introduce(server.process.worker, *tables, *guard)


def _reconciler_of(settings: Settings, store: SqlStore, node: LocalNode, site: ServerIdentity) -> Reconciler:
    """Return what repairs this node; an Xray that is our child has no calls of an earlier life of the service."""
    late_calls = LateCalls(is_child=settings.xray_supervisor == "vpnkeys")
    return Reconciler(store, node, node, site, on_repaired=node.prober.xray_is_up, late_calls=late_calls)


def _host(
    settings: Settings, backups: DailyBackup, served: CertificateFiles, issuing: Issuing
) -> Callable[[], HostFacts]:
    """Return the function that looks at this host."""
    return partial(host_facts, settings, backups, served, SystemClock(), issuing.fault)


def _health(
    look_at_host: Callable[[], HostFacts],
    hang_watch: HangWatch,
    config: ConfigWatch,
    workers: Workers,
    connections: ConnectionWatch,
) -> Health:
    reconciler = config.reconciler
    questions = Questions(hang_watch.require_answer, look_at_host, reconciler.store, SystemClock())
    full_cone = connections.ports.mark is not None
    look = partial(connection_facts, connections)
    can_cut = sockets.can_cut()
    return Health(reconciler, workers.statuses, questions, can_cut, full_cone, config=config.facts, connections=look)


def _xray_of(settings: Settings, xray: XrayBinary, adopter: XrayAdopter) -> XrayProcess | XrayUnit:
    """Return what runs Xray: this server, as its child, or the service manager, as a unit of its own."""
    node, reconciler = adopter.node, adopter.reconciler
    if settings.xray_supervisor == "systemd":
        return XrayUnit(node.api_socket, adopter.adopt, node.prober.xray_is_down)
    command = xray_command(settings, xray, node.file, reconciler)
    return XrayProcess(command, lambda _pid: reconciler.repair_soon(), node.prober.xray_is_down)
