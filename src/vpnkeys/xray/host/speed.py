"""A key's speed limit: the kernel drops what goes over it, on the key's own port and on no other.

One nftables table, ours alone, looks at TCP from and to the limited ports of this host, over IPv4 and IPv6. A packet
that is refused on its way out fails in this host's own TCP, which tries again a moment later: nothing is sent twice.
What comes in over the limit is lost, and the customer's TCP slows down. Why so, with what was measured:
docs/adr/0006-speed-limits.md.
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

# The last to judge: what the operator's own rules drop is not counted.
_PRIORITY = 300

_PROBE_TIMEOUT_S = 0.05
_REMEDY = "Install nftables, and run the server as root or with CAP_NET_ADMIN."


def ruleset(table: str, limits: Mapping[int, int]) -> str:
    """One nft transaction that leaves exactly these limits (port: Mbit/s each way) in the table.

    No burst is given: the second of the rate that a bucket holds anyway is, from 1 Mbit/s on, more than the largest
    packet that the kernel passes down in one piece (64 KiB), which would otherwise never fit.
    """
    rates = {port: int(limits[port] * _BYTES_PER_SECOND_OF_MBIT * _SHARE) for port in sorted(limits)}
    return _ruleset(table, rates)


def _ruleset(table: str, rates: Mapping[int, int]) -> str:
    """The ruleset by bytes a second."""
    body = []
    for way in ("down", "up"):
        body += [block(f"limit {way}_{port}", [f"rate over {rate} bytes/second"]) for port, rate in rates.items()]
        elements = ", ".join(f'{port} : "{way}_{port}"' for port in rates)
        body.append(block(f"map {way}", ["type inet_service : limit", f"elements = {{ {elements} }}"]))
    for chain, hook, way, port in (("leaving", "output", "down", "sport"), ("arriving", "input", "up", "dport")):
        judge = f"limit name tcp {port} map @{way} drop"  # a port that is not in the map goes on
        body.append(block(f"chain {chain}", [f"type filter hook {hook} priority {_PRIORITY}; policy accept;", judge]))
    return replacing(table, body)


@dataclass(slots=True)
class SpeedLimiter:
    """The limits of all keys of one server, in the table of this name. Any thread may call.

    What a killed process left is harmless (it slows down those ports and nothing else) and is replaced by the next
    `apply`. Somebody else's `nft flush ruleset` is undone at once.
    """

    table: str
    _kept: KeptTable = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _obstacle: str | None = field(default=None, init=False)  # empty: none; None: not tried yet
    _is_empty: bool = field(default=False, init=False)  # for sure: nothing of ours is in the kernel

    def __post_init__(self) -> None:
        """Nothing is in the kernel yet."""
        self._kept = KeptTable(self.table, "speed-table", alarm="speed limits are not in force")

    def apply(self, limits: Mapping[int, int]) -> None:
        """From now on exactly these ports are limited, to so many Mbit/s (10^6 bits) up and as many down.

        At once, for open connections too, and all or nothing; the same limits again change nothing. Raises
        SpeedLimitImpossible; then what was in force stays. No limits are possible on any host.
        """
        for port, mbps in limits.items():
            if not (0 < port < 1 << 16 and 1 <= mbps <= MAX_MBPS):
                msg = f"no speed limit: {mbps} Mbit/s on port {port}"
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
        if self._obstacle != "":
            self._obstacle = self._try()  # again after a failure: it may have been remedied
        if self._obstacle:
            raise _impossible(self._obstacle)
        wanted = ruleset(self.table, limits)
        if not self._kept.holds(wanted):
            self._is_empty = False
            self._kept.put(wanted)
        self._kept.watch()

    def _clear(self) -> None:
        """Costs nothing but the first time, when something may have been left by a process that was killed."""
        if self._is_empty:
            return
        self._kept.delete()
        if self._obstacle is None:
            with suppress(NftImpossible):
                nft("delete", "table", "inet", self._trial)
        self._is_empty = True

    def is_possible(self) -> bool:
        """Whether this host lets us limit: tried once, remembered until `apply` learns better."""
        with self._lock:
            if self._obstacle is None:
                self._obstacle = self._try()
            return not self._obstacle

    @property
    def worker(self) -> Worker:
        """What watches the table."""
        return self._kept.worker

    def stop_watching(self) -> None:
        """Leave the limits as they are, for an Xray that goes on."""
        self._kept.stop_watching()

    def remove(self) -> None:
        """Lift all limits and let go of the kernel; for when no Xray of ours runs any more. Never fails."""
        self._kept.stop_watching()
        try:
            self._kept.delete()
        except NftImpossible:
            return  # what stays is harmless, and the next start replaces it

    @property
    def _trial(self) -> str:
        return f"{self.table}_try"

    def _try(self) -> str:
        """What stands in the way, or nothing: a limit of one byte a second must keep a connection out."""
        try:
            with socket.create_server(("127.0.0.1", 0)) as server:
                address = server.getsockname()
                nft("-f", "-", text=_ruleset(self._trial, {address[1]: 1}))
                try:
                    return "the rules are there, yet they limit nothing" if _connects(address) else ""
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
