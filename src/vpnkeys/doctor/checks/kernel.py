"""The check of the kernel features that the server uses."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass

from vpnkeys.client import Client
from vpnkeys.doctor.finding import Verdict, ok, warn

_AVAILABLE = "available"


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """The features, as the server found them when it tried them."""

    can_cut: bool
    guards: bool
    has_nft: bool


def look(server: Client) -> KernelFacts:
    """Ask the server for its health."""
    health = server.health()
    guards = health.udp_full_cone == _AVAILABLE
    return KernelFacts(health.connection_cut == _AVAILABLE, guards, shutil.which("nft") is not None)


def judge(facts: KernelFacts) -> Iterable[Verdict]:
    """Warn about missing features: without them keys work, with the limits that the messages name."""
    permit = "run the server as root or with CAP_NET_ADMIN (AmbientCapabilities= of its unit)"
    if not facts.can_cut:
        yield warn(f"open connections of deleted keys cannot be ended; {permit}")
    if not facts.guards:
        words = "the kernel does not guard private networks for each packet, so each UDP session has one peer only"
        install = "" if facts.has_nft else "apt-get install -y nftables"
        yield warn(f"{words}; {permit if facts.has_nft else 'install nftables and restart the server'}", install)
    if facts.can_cut and facts.guards:
        yield ok("connections of deleted keys are ended, and the kernel guards private networks")
