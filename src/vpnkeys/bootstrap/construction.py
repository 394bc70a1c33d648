"""Constructs the parts of a server, and connects them."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

from vpnkeys.bootstrap.node import NodeQuestions, build_guard, build_node, xray_command
from vpnkeys.bootstrap.server import Server
from vpnkeys.bootstrap.webhook_client import LazyWebhookClient
from vpnkeys.clock import SystemClock
from vpnkeys.domain.errors import KeyPairDamaged
from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.domain.reality import KeyPair
from vpnkeys.ops.adopt import XrayAdopter
from vpnkeys.ops.backup import take_whole
from vpnkeys.ops.config_watch import ConfigWatch
from vpnkeys.ops.daily import DailyBackup
from vpnkeys.ops.data_dir import api_key, certificate, key_pair, reserve_keeper
from vpnkeys.ops.startover import refuse_starting_over
from vpnkeys.ops.vitals import Monitor, host_facts
from vpnkeys.rundir import run_dir
from vpnkeys.service.change.changer import KeyChanger
from vpnkeys.service.change.late_calls import LateCalls
from vpnkeys.service.drift import DriftWatch
from vpnkeys.service.health.checks import HostFacts
from vpnkeys.service.health.health import Health
from vpnkeys.service.health.questions import Questions
from vpnkeys.service.keys import KeyService
from vpnkeys.service.limits.enforcer import Enforcer
from vpnkeys.service.limits.quotas import QuotaWatch
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
from vpnkeys.settings import Settings, SettingsError
from vpnkeys.store.files.secrets import load_key_pair
from vpnkeys.store.sql.opening import open_migrated
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.worker import Worker, Workers
from vpnkeys.xray.host import sockets
from vpnkeys.xray.host.guard import Guard
from vpnkeys.xray.node import LocalNode
from vpnkeys.xray.process.binary import XrayBinary
from vpnkeys.xray.process.child import XrayProcess
from vpnkeys.xray.process.hang import HangWatch
from vpnkeys.xray.process.unit import XrayUnit

_SOCKET_PATH_MAX_BYTES = 100  # 108 in unix(7), less Xray's `.lock` behind it


def build(settings: Settings, xray: XrayBinary, *, start_empty: bool = False) -> Server:
    """Construct a server on its data directory, which is made when it is missing.

    With `start_empty` a lost database or secret is made anew although there were keys.
    Raises SettingsError when the data directory cannot serve, VpnKeysError when a part of it does not answer.
    """
    lock = _lock_what_is_whole(settings, start_empty=start_empty)
    api_key_hash, new_api_key = api_key(settings)
    engine = open_migrated(settings.database_url)  # under the lock: no other server migrates at the same time
    site, guard = _site(settings, key_pair(settings)), build_guard(settings)
    # Node, process and reconciler call each other, hence the lambdas: none is called before all of them exist.
    node = build_node(settings, xray, guard, _questions_of_node(lambda: reconciler, lambda: process))
    reconciler = _reconciler_of(settings, SqlStore(engine), node, site)
    clock, post = SystemClock(), LazyWebhookClient()
    traffic = TrafficService(reconciler.store, node, clock)
    changer = KeyChanger(reconciler, clock, used_bytes=traffic.unstored.used_bytes)
    keys, reporter = KeyService(changer, settings.port_range), Reporter(reconciler, settings.port_range)
    process = _xray_of(settings, xray, XrayAdopter(node, reconciler, traffic))
    daily_backup, served = DailyBackup(settings, lambda: bool(reconciler.store.keys())), certificate(settings)
    drift, config, workers = DriftWatch(reconciler), ConfigWatch(node, reconciler, process), Workers()
    hang_watch = HangWatch(process, node.control.ping, traffic.collect)
    look_at_host = partial(host_facts, settings, daily_backup, served, clock)
    server = Server(
        settings=settings,
        keys=keys,
        traffic=traffic,
        reporter=reporter,
        system=_system_of(settings, changer, reporter, traffic),
        enforcer=Enforcer(keys, traffic),
        quotas=QuotaWatch(keys, traffic),
        reconciler=reconciler,
        health=_health(look_at_host, hang_watch, config, workers, guard),
        selftest=SelfTest(node),
        tokens=TokenService(reconciler.store, clock, api_key_hash.matches),
        subscriptions=_subscriptions_of(settings, reconciler, clock),
        webhooks=WebhookService(reconciler.store, clock, post),
        sender=Sender(reconciler.store, post, clock),
        new_api_key=new_api_key,
        certificate=served,
        node=node,
        process=process,
        hang_watch=hang_watch,
        xray_version=xray.version,
        guard=guard,
        lock=lock,
        daily_backup=daily_backup,
        monitor=Monitor(process, daily_backup, served, drift, workers, clock, lambda: server.health.codes()),  # noqa: PLW0108 - made below
        drift=drift,
        workers=workers,
    )
    _gather_workers(server, config.worker)
    return server


def _system_of(settings: Settings, changer: KeyChanger, reporter: Reporter, traffic: TrafficService) -> SystemService:
    reload_key_pair = partial(_reload_key_pair, settings.data_dir, changer.reconciler)
    restarts = Restarts(only_needed=settings.sync_restarts == "needed")
    return SystemService(changer, reporter, traffic, settings.port_range, reload_key_pair, restarts)


def _questions_of_node(
    reconciler: Callable[[], Reconciler], process: Callable[[], XrayProcess | XrayUnit]
) -> NodeQuestions:
    return NodeQuestions(
        site=lambda: reconciler().site,
        names_in_use=lambda: {key.sni for key in reconciler().stops.keys() if key.serves},  # noqa: SIM118 - not a dict
        restart_process=lambda: process().restart(),
    )


def _lock_what_is_whole(settings: Settings, *, start_empty: bool) -> IO[str]:
    lock = take_whole(settings.data_dir)
    refuse_starting_over(settings, start_empty=start_empty)
    return lock


def _gather_workers(server: Server, config_watch: Worker) -> None:
    """Add the workers in order: each may use those before it, and all use Xray, which starts first and ends last."""
    every_s = server.settings.traffic_interval_s
    sampler = (server.traffic.sampler(every_s),) if every_s > 0 else ()
    server.workers.add(
        server.reconciler.worker,
        server.node.prober.worker,
        server.node.targets.worker,
        server.hang_watch.worker,
        config_watch,
        *sampler,
        server.enforcer.worker,
        server.quotas.worker,
        server.drift.worker,
        server.daily_backup.worker,
        reserve_keeper(server.settings.data_dir),
        server.sender.worker,
        *server.health.workers,
    )
    guard = () if server.guard is None else (server.guard.worker,)
    # Started and stopped by their owners, and only shown in the metrics with the others.
    server.workers.introduce(server.process.worker, server.node.speed.worker, *guard)


def _reconciler_of(settings: Settings, store: SqlStore, node: LocalNode, site: ServerIdentity) -> Reconciler:
    """Return what repairs this node; an Xray that is our child has no calls of an earlier life of the service."""
    late_calls = LateCalls(is_child=settings.xray_supervisor == "vpnkeys")
    return Reconciler(store, node, node, site, on_repaired=node.prober.xray_is_up, late_calls=late_calls)


def _health(
    look_at_host: Callable[[], HostFacts],
    hang_watch: HangWatch,
    config: ConfigWatch,
    workers: Workers,
    guard: Guard | None,
) -> Health:
    reconciler = config.reconciler
    questions = Questions(hang_watch.require_answer, look_at_host, reconciler.store, SystemClock())
    full_cone = guard is not None
    return Health(reconciler, workers.statuses, questions, sockets.can_cut(), full_cone=full_cone, config=config.facts)


def _subscriptions_of(settings: Settings, reconciler: Reconciler, clock: SystemClock) -> SubscriptionService:
    """Return the use cases about subscriptions, which end with their keys even while the database stores no stop."""
    host, port = settings.server_address, settings.listen.port
    return SubscriptionService(reconciler.store, clock, host, port, reconciler.stops.keys)


def _xray_of(settings: Settings, xray: XrayBinary, adopter: XrayAdopter) -> XrayProcess | XrayUnit:
    """Return what runs Xray: this server, as its child, or the service manager, as a unit of its own."""
    node, reconciler = adopter.node, adopter.reconciler
    if settings.xray_supervisor == "systemd":
        return XrayUnit(node.api_socket, adopter.adopt, node.prober.xray_is_down)
    command = xray_command(settings, xray, node.file, reconciler)
    return XrayProcess(command, lambda _pid: reconciler.repair_soon(), node.prober.xray_is_down)


def _site(settings: Settings, pair: KeyPair) -> ServerIdentity:
    socket_dir = run_dir(settings.data_dir)
    if len(os.fsencode(socket_dir)) + len("/warm-00.sock.lock") > _SOCKET_PATH_MAX_BYTES:
        msg = f"VPNKEYS_DATA_DIR: the path {settings.data_dir} is too long for a Unix socket; use a shorter one"
        raise SettingsError(msg)
    return ServerIdentity(
        listen=settings.inbound_listen,
        private_key=pair.private_key,
        socket_dir=str(socket_dir),
        server_names=settings.reality_server_names,
        forced_target=settings.reality_target,
        server_address=settings.server_address,
        public_key=pair.public_key,
        fingerprint=settings.utls_fingerprint,
    )


def _reload_key_pair(data_dir: Path, reconciler: Reconciler) -> None:
    """Use the key pair that is stored now, which may have been restored or replaced since the start.

    Raises KeyPairDamaged.
    """
    try:
        pair = load_key_pair(data_dir)
    except ValueError as error:
        raise KeyPairDamaged(str(error)) from error
    reconciler.site = replace(reconciler.site, private_key=pair.private_key, public_key=pair.public_key)
