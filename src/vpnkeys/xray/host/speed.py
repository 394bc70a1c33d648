"""Limits the speed of keys: the kernel drops packets over the limit on a key's own port.

One nftables table of ours counts TCP from and to the limited ports of this host, over IPv4 and IPv6. A packet dropped
on its way out stays in this host's TCP, which sends it a moment later: nothing is lost on the path. Incoming packets
over the limit are lost, and the customer's TCP slows down. Reasons and measurements: docs/adr/0006-speed-limits.md.
"""

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from vpnkeys.domain.errors import SpeedLimitImpossible
from vpnkeys.worker import Worker
from vpnkeys.xray.host.nft import KeptTable, NftImpossible, block, nft, replacing

MAX_MBPS = 100_000

_BYTES_PER_SECOND_OF_MBIT = 125_000

# A byte limit of nftables is a bucket that holds one second of the rate, and starts full: 11 seconds' worth pass in the
# first 10. With a share of 94 % that is 103 %; after that it stays at 90 to 94 %, as headers are counted as well.
_SHARE = 0.94

# After the operator's filter chains (priority 0): what they drop is not counted.
_PRIORITY = 300

_PROBE_TIMEOUT_S = 0.05
_REMEDY = "Install nftables, and run the server as root or with CAP_NET_ADMIN."


def ruleset(table: str, limits: Mapping[int, int]) -> str:
    """Return one nft transaction after which the table has exactly these limits (port: Mbit/s each way)."""
    # No `burst`: the bucket holds a second of the rate, which is at least 117 KB. The kernel passes segments of up to
    # 64 KiB to the chain in one piece (GSO), and one larger than the bucket would never pass.
    rates = {port: int(limits[port] * _BYTES_PER_SECOND_OF_MBIT * _SHARE) for port in sorted(limits)}
    return _ruleset(table, rates)


def _ruleset(table: str, rates: Mapping[int, int]) -> str:
    """Return the transaction for rates in bytes per second, by port."""
    body = []
    for direction in ("down", "up"):
        body += [block(f"limit {direction}_{port}", [f"rate over {rate} bytes/second"]) for port, rate in rates.items()]
        elements = ", ".join(f'{port} : "{direction}_{port}"' for port in rates)
        body.append(block(f"map {direction}", ["type inet_service : limit", f"elements = {{ {elements} }}"]))
    for chain, hook, direction, port in (("leaving", "output", "down", "sport"), ("arriving", "input", "up", "dport")):
        judge = f"limit name tcp {port} map @{direction} drop"  # one lookup for all ports; other ports pass
        body.append(block(f"chain {chain}", [f"type filter hook {hook} priority {_PRIORITY}; policy accept;", judge]))
    return replacing(table, body)


@dataclass(slots=True)
class SpeedLimiter:
    """Keeps the speed limits of all keys of one server in the table of this name. Safe for any thread.

    The table of a killed process goes on limiting its ports until the next `apply` replaces it. The table is restored
    after an `nft flush ruleset`.
    """

    table: str
    _kept: KeptTable = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _refusal: str | None = field(
        default=None, init=False
    )  # why limits are impossible; empty: they are possible; None: not tested yet
    _is_empty: bool = field(default=False, init=False)  # True: it is known that there is no table of ours

    def __post_init__(self) -> None:
        """Do not touch the kernel before `apply`."""
        self._kept = KeptTable(self.table, "speed-table", alarm="speed limits are not in force")

    def apply(self, limits: Mapping[int, int]) -> None:
        """Limit exactly these ports, each to this many Mbit/s (10^6 bits) up and as many down.

        It holds at once, for open connections too. The same limits again change nothing. Raises SpeedLimitImpossible,
        and the limits before stay in force; ValueError for a port or a rate out of range. An empty mapping works on
        any host.
        """
        for port, mbps in limits.items():
            if not (0 < port < 1 << 16 and 1 <= mbps <= MAX_MBPS):
                msg = f"invalid speed limit: {mbps} Mbit/s on port {port}"
                raise ValueError(msg)
        with self._lock:
            try:
                self._apply(limits)
            except NftImpossible as error:
                raise _impossible(str(error)) from error

    def _apply(self, limits: Mapping[int, int]) -> None:
        if not limits:
            self._clear()
            return
        if self._refusal != "":
            self._refusal = self._find_refusal()  # again after a refusal: nftables may have been installed since
        if self._refusal:
            raise _impossible(self._refusal)
        wanted = ruleset(self.table, limits)
        if not self._kept.holds(wanted):
            self._is_empty = False
            self._kept.put(wanted)
        self._kept.watch()

    def _clear(self) -> None:
        """Remove the table, and a test table of a killed process; nothing when that was done before."""
        if self._is_empty:
            return
        self._kept.delete()
        if self._refusal is None:
            with suppress(NftImpossible):
                nft("delete", "table", "inet", self._trial)
        self._is_empty = True

    def is_possible(self) -> bool:
        """Return whether this host can limit speeds; tested once, and again by `apply` after a refusal."""
        with self._lock:
            if self._refusal is None:
                self._refusal = self._find_refusal()
            return not self._refusal

    @property
    def worker(self) -> Worker:
        """Return the worker that restores the table."""
        return self._kept.worker

    def stop_watching(self) -> None:
        """Stop restoring the table; the limits stay for an Xray that goes on."""
        self._kept.stop_watching()

    def remove(self) -> None:
        """Remove all limits, after our Xray has ended. Never fails."""
        self._kept.stop_watching()
        try:
            self._kept.delete()
        except NftImpossible:
            return  # the table limits ports that nothing serves, and the next start replaces it

    @property
    def _trial(self) -> str:
        return f"{self.table}_try"

    def _find_refusal(self) -> str:
        """Return why limits are impossible, or "": a test limit of one byte a second must keep a connection out."""
        try:
            with socket.create_server(("127.0.0.1", 0)) as server:
                address = server.getsockname()
                nft("-f", "-", text=_ruleset(self._trial, {address[1]: 1}))
                try:
                    return "the rules are installed, but they limit nothing" if _connects(address) else ""
                finally:
                    nft("delete", "table", "inet", self._trial)
        except (NftImpossible, OSError) as error:
            return str(error)


def _connects(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, _PROBE_TIMEOUT_S):
            return True
    except TimeoutError:
        return False


def _impossible(reason: str) -> SpeedLimitImpossible:
    return SpeedLimitImpossible(f"This host cannot limit the speed of a key: {reason}. {_REMEDY}")
