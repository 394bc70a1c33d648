"""Constructs the node of this host: Xray with its file, its API, its process and its guard."""

import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.inbound import Inbound, ServerIdentity
from vpnkeys.ops.base_config import base_config
from vpnkeys.ops.data_dir import api_socket
from vpnkeys.rundir import memory_dir, run_dir
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.settings import ENVIRONMENT, Settings
from vpnkeys.xray.config.check import xray_checker
from vpnkeys.xray.config.file import ConfigFile
from vpnkeys.xray.config.start import ChosenFile, StartFile
from vpnkeys.xray.host.bounds import ConnectionBounds, Most
from vpnkeys.xray.host.connections import ConnectionWatch, Ports
from vpnkeys.xray.host.guard import Guard, GuardImpossible, Policy, bounds_table, mark_of, table_of
from vpnkeys.xray.host.speed import SpeedLimiter
from vpnkeys.xray.node import LocalNode
from vpnkeys.xray.probe.kernel import Probes
from vpnkeys.xray.probe.server_names import ServerNameProber
from vpnkeys.xray.probe.targets import TargetWatch
from vpnkeys.xray.process.binary import XrayBinary
from vpnkeys.xray.process.child import XrayCommand
from vpnkeys.xray.process.launch import last_start, sockets_in, xray_environment
from vpnkeys.xray.process.unit import probing_pid
from vpnkeys.xray.rpc.control import XrayControl
from vpnkeys.xray.rpc.counters import XrayCounters

_log = logging.getLogger(__name__)


def build_guard(settings: Settings) -> Guard | None:
    """Return the kernel's guard, in force from now on; None, with a warning in the log, where it is impossible."""
    policy = Policy(mark_of(settings.data_dir), settings.egress_allow, settings.panel_port)
    guard = Guard(table_of(settings.data_dir), policy)
    try:
        guard.install()
    except GuardImpossible as error:
        _log.warning(
            "only Xray's own rules keep customers out of private networks, and UDP has no full cone, which calls and "
            "games may notice, because the kernel cannot guard private networks (%s): install nftables, and run as "
            "root or with CAP_NET_ADMIN",
            error,
        )
        return None
    return guard


def build_watch(settings: Settings, site: ServerIdentity, guard: Guard | None) -> ConnectionWatch:
    """Return the watch of connections to the keys' ports; the kernel has no bounds yet."""
    pool = settings.port_range
    targets = {int(site.target(name).rpartition(":")[2]) for name in site.server_names}
    ports = Ports(range(pool.first, pool.last + 1), targets, None if guard is None else guard.policy.mark)
    most = Most(settings.connections_per_source, settings.connections_per_key)
    bounds = ConnectionBounds(bounds_table(settings.data_dir), most)
    return ConnectionWatch(ports, bounds, XrayCounters(api_socket(settings)).pid)


@dataclass(frozen=True, slots=True)
class NodeQuestions:
    """What the node asks of the server that is made around it, but only after the server has started."""

    site: Callable[[], ServerIdentity]
    names_in_use: Callable[[], Collection[str]]
    restart_process: Callable[[], None]


def build_node(settings: Settings, xray: XrayBinary, guard: Guard | None, server: NodeQuestions) -> LocalNode:
    """Return the node."""
    base = base_config(settings, None if guard is None else guard.policy.mark)
    # The target watch and the name prober call each other, but only after the server has started.
    probes = Probes(_xray_pid(settings), lambda name: targets.report(name))  # noqa: PLW0108 - made below
    prober = ServerNameProber(xray.path, xray_environment(settings.xray_ca_file), server.site, probes)
    targets = TargetWatch(settings.xray_ca_file, server.site, server.names_in_use, on_better=prober.try_again)
    file = ConfigFile(settings.data_dir / "config.json", base, xray_checker(xray.path, _log.warning))
    return LocalNode(
        file=file,
        control=XrayControl(api_socket(settings)),
        prober=prober,
        targets=targets,
        api_socket=api_socket(settings),
        restart_process=server.restart_process,
        is_outdated=partial(_is_outdated, settings, file),
        speed=SpeedLimiter(f"{table_of(settings.data_dir)}_speed"),
    )


def _xray_pid(settings: Settings) -> Callable[[], int]:
    """Return a function that returns the pid of the Xray whose probes may be ended, or raises XrayUnavailable.

    An Xray of its own unit may be older than this server: it has no probes any more, and its connections to the
    targets' addresses are customers' own. So only a young one is returned (docs/adr/0008-xray-as-its-own-unit.md).
    """
    counters = XrayCounters(api_socket(settings))
    return counters.pid if settings.xray_supervisor == "vpnkeys" else lambda: probing_pid(counters)


def _is_outdated(settings: Settings, file: ConfigFile) -> bool:
    """Return whether config.json differs, in more than our inbounds, from the one that Xray was started with."""
    if settings.xray_supervisor == "vpnkeys":
        started = file.started_base
    else:
        start = last_start(run_dir(settings.data_dir))
        started = "" if start is None else start.base
    return file.base_now() not in ("", started)


def xray_command(settings: Settings, xray: XrayBinary, file: ConfigFile, reconciler: Reconciler) -> XrayCommand:
    """Return how Xray is started as this server's child."""

    def wanted() -> tuple[Inbound, ...] | None:
        with suppress(Unavailable):
            return reconciler.desired(reconciler.stops.own_keys())
        return None

    def choose(quick_exits: int) -> ChosenFile:
        is_other = quick_exits and file.base_now() not in ("", file.started_base)  # not the one that they happened with
        chosen = start.choose(0 if is_other else quick_exits)
        file.started_base = chosen.base
        return chosen

    start = StartFile(file.path, lambda _document: file.base, file.check, _log.error, wanted)
    sockets = sockets_in(run_dir(settings.data_dir), len(settings.reality_server_names))
    environment = xray_environment(settings.xray_ca_file)
    return XrayCommand(xray.path, choose, sockets, environment, memory_dir(ENVIRONMENT))
