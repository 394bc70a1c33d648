"""What the kernel lets the server do."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass

from vpnkeys.client import Client
from vpnkeys.doctor.finding import Verdict, ok, warn

_AVAILABLE = "available"


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """By the server's own trials."""

    can_cut: bool
    guards: bool
    has_nft: bool


def look(server: Client) -> KernelFacts:
    """Ask the server."""
    health = server.health()
    guards = health.udp_full_cone == _AVAILABLE
    return KernelFacts(health.connection_cut == _AVAILABLE, guards, shutil.which("nft") is not None)


def judge(facts: KernelFacts) -> Iterable[Verdict]:
    """Without them everything works, a little worse."""
    permit = "run the server as root or with CAP_NET_ADMIN (AmbientCapabilities= of its unit)"
    if not facts.can_cut:
        yield warn(f"open connections of deleted keys cannot be ended; {permit}")
    if not facts.guards:
        words = "the kernel does not guard private networks packet by packet, so UDP has one peer a session"
        install = "" if facts.has_nft else "apt-get install -y nftables"
        yield warn(f"{words}; {permit if facts.has_nft else 'install nftables and restart the server'}", install)
    if facts.can_cut and facts.guards:
        yield ok("connections of deleted keys are ended, and the kernel guards private networks")
