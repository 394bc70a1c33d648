"""The kernel judges every packet that customers send: none reaches a private network or this host.

Xray's routing judges a connection once, by what a name resolved to then, and of UDP only the first packet of a session.
So Xray marks what it sends for customers, and one nftables table, ours alone, looks at every packet with that mark and
at no other. Why so, with what was measured: docs/adr/0002-egress.md.
"""

import hashlib
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path

from vpnkeys.worker import Worker
from vpnkeys.xray.config.document import PRIVATE_NETWORKS
from vpnkeys.xray.host.nft import KeptTable, NftImpossible, block, replacing

_PROBE_TIMEOUT_S = 1.0

# Before everything else: connection tracking, address translation, and whoever else sets or restores marks.
_PRIORITY = -400


class GuardImpossible(Exception):
    """This host does not let us guard; the message says why."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What marked packets may reach beside the internet.

    `allow` are (cidr, port or None). `api_port` is open on this host's public addresses, so that operators get to
    the panel through their own VPN. `mark` is even: the next number is used inside.
    """

    mark: int
    allow: tuple[tuple[str, int | None], ...] = ()
    api_port: int | None = None

    def allows(self, address: str, port: int) -> bool:
        """Whether an entry of `allow` names this destination."""
        there = ip_address(address)
        return any(there in ip_network(cidr) and only in {None, port} for cidr, only in self.allow)


def mark_of(data_dir: Path) -> int:
    """The mark of a data directory's server: even, 31 bits at most, and most likely nobody else's.

    Only bits 1-7 and 24-30 are used, and of the latter at least one: container networks and VPN programs test bits
    between those, and small numbers are what people choose by hand.
    """
    digest = _digest(data_dir)
    return (1 + digest[0] % 0x7F) << 24 | digest[1] & 0xFE


def table_of(data_dir: Path) -> str:
    """The name of its table, in the family `inet`."""
    return f"vpnkeys_{_digest(data_dir)[:4].hex()}"


def _digest(data_dir: Path) -> bytes:
    return hashlib.sha256(os.fsencode(data_dir.resolve())).digest()


def ruleset(table: str, policy: Policy) -> str:
    """One nft transaction that puts the table there as it should be, whatever it was before.

    TCP is refused with a reset. UDP must vanish instead: a packet that is rejected or dropped on its way out fails the
    `sendto`, and Xray then ends the whole UDP session for one wrong packet, such as a call's attempt at the peer's
    private address. So it is sent to this host's loopback under the odd mark, and dropped on arrival.
    """
    private = [ip_network(network) for network in PRIVATE_NETWORKS]
    ipv4 = ", ".join(str(network) for network in private if network.version == 4)  # noqa: PLR2004 - IPv4
    ipv6 = ", ".join(str(network) for network in private if network.version == 6)  # noqa: PLR2004 - IPv6
    api = [] if policy.api_port is None else [f"fib daddr type local tcp dport {policy.api_port} accept"]
    leaving = [
        f"type route hook output priority {_PRIORITY}; policy accept;",
        f"meta mark != {policy.mark} accept",
        *(line for cidr, port in policy.allow for line in _allow(cidr, port)),
        "ip daddr @private4 goto refuse",
        "ip6 daddr @private6 goto refuse",
        *api,
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
    """The table in the kernel, from `install` to `remove`. What a killed process left is harmless and is replaced."""

    table: str
    policy: Policy
    _kept: KeptTable = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is in the kernel yet."""
        self._kept = KeptTable(self.table, "guard-table", alarm="customers can reach private networks")

    def install(self) -> None:
        """Put the table there and prove that it works. Raises GuardImpossible; then nothing is left of it.

        That `nft` may do this shows that Xray, started by this process in the same way, may set the mark.
        """
        try:
            self._kept.put(ruleset(self.table, self.policy))
            self._prove()
        except OSError as error:
            self._delete()
            msg = f"a marked packet could not be tried: {error.strerror}"
            raise GuardImpossible(msg) from error
        except (NftImpossible, GuardImpossible) as error:
            self._delete()
            raise GuardImpossible(str(error)) from error

    def watch(self) -> None:
        """From now on put the table back when it is taken away, as `nft flush ruleset` does to all tables."""
        self._kept.watch()

    @property
    def worker(self) -> Worker:
        """What watches."""
        return self._kept.worker

    def stop_watching(self) -> None:
        """Leave the table as it is, for an Xray that goes on."""
        self._kept.stop_watching()

    def remove(self) -> None:
        """Take the table away; for when no Xray of ours runs any more."""
        self._kept.stop_watching()
        self._delete()

    def _delete(self) -> None:
        with suppress(NftImpossible):  # harmless where it stays, and nobody could do more
            self._kept.delete()

    def _prove(self) -> None:
        """Send to ourselves with the mark and then without it: what arrives first must be the second."""
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(_PROBE_TIMEOUT_S)
            address = receiver.getsockname()
            if self.policy.allows(*address):
                return  # all of loopback is open: nothing could be told
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self.policy.mark)
            sender.sendto(b"marked", address)
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0)
            sender.sendto(b"unmarked", address)
            if receiver.recv(16) != b"unmarked":
                msg = "the table is there, yet a marked packet passed it"
                raise GuardImpossible(msg)
