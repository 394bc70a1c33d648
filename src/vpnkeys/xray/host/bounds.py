"""Bounds the open connections to the keys' ports in the kernel, so that nobody can use up Xray's descriptors.

Anyone can open connections to these ports, and each costs Xray two descriptors before its first byte: REALITY dials the
target at once. One nftables table of ours counts them (`ct count`) when a new one begins: of each source and to each
port. What goes over is refused with a reset. Reasons and measurements: docs/adr/0022-floods.md.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from vpnkeys.worker import Worker
from vpnkeys.xray.host.nft import KeptTable, NftImpossible, block, nft, replacing

# After the operator's filter chains (priority 0): what they drop is not counted.
_PRIORITY: Final = 290
_SET_SIZE: Final = 65535
_SUBNET: Final = "ffff:ffff:ffff:ffff::"
_COUNTER: Final = "refused"


class Most(NamedTuple):
    """The most open connections of one source, and to one port; 0: no bound."""

    per_source: int
    per_key: int


def ruleset(table: str, ports: range, most: Most) -> str:
    """Return one nft transaction that creates or replaces the table for these ports."""
    bounds, sets = [], []
    # Loopback is no source: behind a proxy on this host, all customers come from there.
    if most.per_source:
        sets += [_counted("source4", "ipv4_addr"), _counted("source6", "ipv6_addr")]
        over = f"ct count over {most.per_source}"
        bounds.append(f'iif != "lo" add @source4 {{ ip saddr {over} }} goto refuse')
        bounds.append(f'iif != "lo" add @source6 {{ ip6 saddr & {_SUBNET} {over} }} goto refuse')
    if most.per_key:
        sets.append(_counted("port", "inet_service"))
        bounds.append(f"add @port {{ tcp dport ct count over {most.per_key} }} goto refuse")
    arriving = [
        f"type filter hook input priority {_PRIORITY}; policy accept;",
        "meta l4proto != tcp accept",
        f"tcp dport != {ports.start}-{ports.stop - 1} accept",
        "tcp flags & (fin | syn | rst | ack) != syn accept",
        *bounds,
    ]
    refuse = [f"meta l4proto tcp counter name {_COUNTER} reject with tcp reset"]
    return replacing(
        table, [f"counter {_COUNTER} {{ }}", *sets, block("chain refuse", refuse), block("chain arriving", arriving)]
    )


def _counted(name: str, kind: str) -> str:
    # A set that is full counts no new source, which then has no bound.
    return block(f"set {name}", [f"type {kind}", f"size {_SET_SIZE}", "flags dynamic"])


@dataclass(slots=True)
class ConnectionBounds:
    """Keeps the bounds in the kernel from `install` to `remove`. `is_kept` says whether they are in force."""

    table: str
    most: Most
    is_kept: bool = field(default=False, init=False)
    _kept: KeptTable = field(init=False)

    def __post_init__(self) -> None:
        """Do not touch the kernel before `install`."""
        alarm = "the bounds of connections are not in force"
        # Without counters and the elements that the kernel itself adds.
        self._kept = KeptTable(self.table, "bounds-table", alarm, ("--stateless", "--terse"))

    def install(self, ports: range) -> str:
        """Bound connections to these ports from now on; return why that is impossible, or ""."""
        if not any(self.most):
            self._delete()  # of a start with other settings
            return ""
        try:
            self._kept.put(ruleset(self.table, ports, self.most))
        except NftImpossible as error:
            self._delete()
            return str(error)
        self.is_kept = True
        self._kept.watch()
        return ""

    def refused(self) -> int | None:
        """Return how many connections were refused since the table was installed; None where that is unknown."""
        if not self.is_kept:
            return None
        try:
            words = nft("list", "counter", "inet", self.table, _COUNTER).split()
            return int(words[words.index("packets") + 1])
        except (NftImpossible, ValueError):
            return None

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
        self.is_kept = False
        with suppress(NftImpossible):  # one that stays bounds ports that nothing serves
            self._kept.delete()
