"""Filters customers' packets in the kernel, so that none reaches a private network or this host.

Xray's routing checks a connection once, by the address that a name had then, and only the first packet of a UDP
session. So Xray marks what it sends for customers (SO_MARK), and one nftables table of ours filters the packets with
that mark. Reasons and measurements: docs/adr/0002-egress.md.
"""

import hashlib
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path

from vpnkeys.domain.networks import PRIVATE_NETWORKS
from vpnkeys.worker import Worker
from vpnkeys.xray.host.nft import KeptTable, NftImpossible, block, replacing

_PROBE_TIMEOUT_S = 1.0

# Before connection tracking (-200), address translation (-100) and rules that set or restore marks (-150).
_PRIORITY = -400


class GuardImpossible(Exception):
    """Raised when this host cannot filter customers' packets; the message says why."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What marked packets may reach beside the internet.

    `allow` holds (cidr, port or None for all). `api_port` is open on this host's public addresses, so that operators
    reach the panel through their own VPN. `mark` is even; `mark + 1` marks refused UDP packets.
    """

    mark: int
    allow: tuple[tuple[str, int | None], ...] = ()
    api_port: int | None = None

    def allows(self, address: str, port: int) -> bool:
        """Return whether an entry of `allow` contains this destination."""
        there = ip_address(address)
        return any(there in ip_network(cidr) and only in {None, port} for cidr, only in self.allow)


def mark_of(data_dir: Path) -> int:
    """Return the packet mark of the server of a data directory: even, with bits 1-7 and 24-30 only.

    At least one of bits 24-30 is set: people choose small numbers by hand.
    """
    # Kubernetes, Calico, Cilium and Tailscale test other bits.
    digest = _digest(data_dir)
    return (1 + digest[0] % 0x7F) << 24 | digest[1] & 0xFE


def table_of(data_dir: Path) -> str:
    """Return the name of the server's table, in the family `inet`."""
    return f"vpnkeys_{_digest(data_dir)[:4].hex()}"


def bounds_table(data_dir: Path) -> str:
    """Return the name of the server's table that bounds connections, in the same family."""
    return f"{table_of(data_dir)}_bounds"


def _digest(data_dir: Path) -> bytes:
    return hashlib.sha256(os.fsencode(data_dir.resolve())).digest()


def ruleset(table: str, policy: Policy) -> str:
    """Return one nft transaction that creates or replaces the table."""
    # TCP is refused with a reset. UDP must be lost instead: `reject` or `drop` on the way out fails sendto() with
    # EPERM, and Xray then ends the whole UDP session, as for a call that tries the peer's private address. So refused
    # UDP is redirected to loopback under `mark + 1`, and dropped on arrival.
    private = [ip_network(network) for network in PRIVATE_NETWORKS]
    ipv4 = ", ".join(str(network) for network in private if network.version == 4)  # noqa: PLR2004 - IPv4
    ipv6 = ", ".join(str(network) for network in private if network.version == 6)  # noqa: PLR2004 - IPv6
    api = [] if policy.api_port is None else [f"fib daddr type local tcp dport {policy.api_port} accept"]
    leaving = [
        # `route`, because only this chain type looks the route up again after the destination was changed (nft(8)).
        f"type route hook output priority {_PRIORITY}; policy accept;",
        f"meta mark != {policy.mark} accept",
        *(line for cidr, port in policy.allow for line in _allow(cidr, port)),
        "ip daddr @private4 goto refuse",
        "ip6 daddr @private6 goto refuse",
        *api,
        # Addresses that the host has now; the list in Xray's routing is from the start of the server.
        "fib daddr type { local, broadcast, multicast } goto refuse",
    ]
    refuse = [
        "meta l4proto tcp reject with tcp reset",
        f"meta mark set {policy.mark | 1}",
        "ip daddr set 127.0.0.1 accept",
        "ip6 daddr set ::1 accept",
        "drop",
    ]
    refused = [
        f"type filter hook prerouting priority {_PRIORITY}; policy accept;",
        f"meta mark {policy.mark | 1} drop",
    ]
    body = [
        block("set private4", ["type ipv4_addr", "flags interval", f"elements = {{ {ipv4} }}"]),
        block("set private6", ["type ipv6_addr", "flags interval", f"elements = {{ {ipv6} }}"]),
        block("chain refuse", refuse),
        block("chain leaving", leaving),
        block("chain refused", refused),
    ]
    return replacing(table, body)


def _allow(cidr: str, port: int | None) -> list[str]:
    destination = f"{'ip6' if ':' in cidr else 'ip'} daddr {cidr}"
    if port is None:
        return [f"{destination} accept"]
    return [f"{destination} {protocol} dport {port} accept" for protocol in ("tcp", "udp")]


@dataclass(slots=True)
class Guard:
    """Keeps the table in the kernel from `install` to `remove`; `install` replaces one of a killed process."""

    table: str
    policy: Policy
    _kept: KeptTable = field(init=False)

    def __post_init__(self) -> None:
        """Do not touch the kernel before `install`."""
        self._kept = KeptTable(self.table, "guard-table", alarm="customers can reach private networks")

    def install(self) -> None:
        """Create the table and test it with a packet. Raises GuardImpossible; the table is removed then."""
        # `nft` needs CAP_NET_ADMIN, as SO_MARK does: Xray, started by this process in the same way, has it too. It only
        # logs when the mark cannot be set, and would then send unfiltered.
        try:
            self._kept.put(ruleset(self.table, self.policy))
            self._prove()
        except OSError as error:
            self._delete()
            msg = f"a marked test packet could not be sent: {error.strerror}"
            raise GuardImpossible(msg) from error
        except (NftImpossible, GuardImpossible) as error:
            self._delete()
            raise GuardImpossible(str(error)) from error

    def watch(self) -> None:
        """Start to restore the table when it is changed or removed, as by `nft flush ruleset`."""
        self._kept.watch()

    @property
    def worker(self) -> Worker:
        """Return the worker that restores the table."""
        return self._kept.worker

    def stop_watching(self) -> None:
        """Stop restoring the table; it stays in the kernel for an Xray that goes on."""
        self._kept.stop_watching()

    def remove(self) -> None:
        """Remove the table; only after our Xray has ended."""
        self._kept.stop_watching()
        self._delete()

    def _delete(self) -> None:
        with suppress(NftImpossible):  # one that stays filters only packets with our mark
            self._kept.delete()

    def _prove(self) -> None:
        """Send a marked and an unmarked packet to loopback. Raises GuardImpossible when the marked one arrives."""
        # The unmarked one proves that the first was filtered, not late: loopback keeps the order.
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(_PROBE_TIMEOUT_S)
            address = receiver.getsockname()
            if self.policy.allows(*address):
                return  # the policy allows this very address, so the marked packet may arrive
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self.policy.mark)
            sender.sendto(b"marked", address)
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0)
            sender.sendto(b"unmarked", address)
            if receiver.recv(16) != b"unmarked":
                msg = "the table is installed, but a marked packet passed it"
                raise GuardImpossible(msg)
