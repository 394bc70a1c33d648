"""The node of this host: Xray with its file, its API, its process and its guard."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address, ip_network
from pathlib import Path

from vpnkeys.domain.inbound import Site
from vpnkeys.settings import Settings
from vpnkeys.store.certificate import host_names
from vpnkeys.xray.binary import XrayBinary
from vpnkeys.xray.config import PRIVATE_NETWORKS, Frame
from vpnkeys.xray.configfile import ConfigFile, xray_checker
from vpnkeys.xray.control import XrayControl
from vpnkeys.xray.counters import XrayCounters
from vpnkeys.xray.guard import Guard, GuardImpossible, Policy, mark_of, table_of
from vpnkeys.xray.node import LocalNode
from vpnkeys.xray.probes import Probes
from vpnkeys.xray.process import XrayCommand
from vpnkeys.xray.speed import SpeedLimiter
from vpnkeys.xray.targets import TargetWatch
from vpnkeys.xray.warm import Warmth

_log = logging.getLogger(__name__)


def build_guard(settings: Settings) -> Guard | None:
    """The kernel's guard, in force from now on; None where this host does not let us, which is said once."""
    policy = Policy(mark_of(settings.data_dir), settings.egress_allow, _panel_port(settings))
    guard = Guard(table_of(settings.data_dir), policy)
    try:
        guard.install()
    except GuardImpossible as error:
        _log.warning(
            "customers' UDP gets no full cone, which calls and games may notice, because the kernel does not guard "
            "private networks (%s): install nftables, and run as root or with CAP_NET_ADMIN",
            error,
        )
        return None
    return guard


def _panel_port(settings: Settings) -> int | None:
    """The API's port, unless it is for this host alone."""
    return None if ip_address(settings.listen.host).is_loopback else settings.listen.port


def _own_addresses() -> tuple[str, ...]:
    """This host's addresses that are not blocked as private ones already."""
    private = [ip_network(network) for network in PRIVATE_NETWORKS]
    own = []
    for name in sorted(host_names()):
        with suppress(ValueError):
            address = ip_address(name)
            if not any(address in network for network in private):
                own.append(str(address))
    return tuple(own)


def build_node(
    settings: Settings,
    xray: XrayBinary,
    guard: Guard | None,
    current_site: Callable[[], Site],
    restart_process: Callable[[], None],
) -> LocalNode:
    """The node. `current_site` and `restart_process` are asked only once the server is started."""
    frame = Frame(
        str(api_socket(settings)),
        settings.port_range,
        settings.egress_allow,
        _own_addresses(),
        _panel_port(settings),
        mark=None if guard is None else guard.policy.mark,
    )
    # The watch on targets and the warmth of names know each other; each is asked only once the server is started.
    probes = Probes(XrayCounters(api_socket(settings)).pid, lambda name: targets.report(name))  # noqa: PLW0108 - made below
    warmth = Warmth(xray.path, _xray_environment(settings), current_site, probes)
    targets = TargetWatch(settings.xray_ca_file, current_site, on_better=warmth.try_again)
    return LocalNode(
        file=ConfigFile(settings.data_dir / "config.json", frame, xray_checker(xray.path)),
        control=XrayControl(api_socket(settings)),
        warmth=warmth,
        targets=targets,
        api_socket=api_socket(settings),
        restart_process=restart_process,
        speed=SpeedLimiter(f"{table_of(settings.data_dir)}_speed"),
    )


def api_socket(settings: Settings) -> Path:
    """The Unix socket of Xray's API."""
    return settings.data_dir / "run" / "api.sock"


def xray_command(settings: Settings, xray: XrayBinary, node: LocalNode) -> XrayCommand:
    """How Xray is started as our child."""
    names = ["api.sock", *(f"warm-{index}.sock" for index in range(len(settings.reality_server_names)))]
    sockets = tuple(settings.data_dir / "run" / name for name in names)
    return XrayCommand(xray.path, node.file.start_file, sockets, _xray_environment(settings))


def _xray_environment(settings: Settings) -> dict[str, str]:
    """What Xray sees of our environment: no secret of ours, and the certificates it should trust in targets."""
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TZ"}}
    # Spliced bytes are counted when their connection ends, which may be hours later (docs/adr/0005-live-traffic.md).
    environment["XRAY_BUF_SPLICE"] = "disable"
    if settings.xray_ca_file is not None:
        environment["SSL_CERT_FILE"] = str(settings.xray_ca_file)
    return environment
