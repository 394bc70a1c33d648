"""Watches the open connections to the keys' ports: ends those that say nothing, and counts what strangers relay.

Reasons and measurements: docs/adr/0022-floods.md.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.traffic import NOTHING, Bytes
from vpnkeys.worker import Job, Worker
from vpnkeys.xray.host import sockets
from vpnkeys.xray.host.bounds import ConnectionBounds
from vpnkeys.xray.host.listeners import listening
from vpnkeys.xray.host.processes import Descriptors, descriptors_of
from vpnkeys.xray.host.sockets import OpenSocket

HELLO_BYTES: Final = 128
"""No client's first message is shorter: a TLS ClientHello for REALITY has more than 200 bytes."""

SILENT_S: Final = 10.0
"""A client that has not sent its first message by then is none: each sends it at once."""

_SILENT_UNDER_PRESSURE_S = 1.0
_PRESSURE = 0.5  # of Xray's descriptors: from here on silence is cut short
_RELAYED_BYTES = 32 * 1024  # more than REALITY's own handshake with the target: certificates have up to 8 KB

_LOOK_EVERY_S = 2.0
_REST = 20  # at most so small a part of one processor is spent on looking
_JOB = Job(
    name="connection-watch",
    failing="connections to the keys' ports could not be examined",
    every_s=_LOOK_EVERY_S,
    back_off_s=(_LOOK_EVERY_S, 30.0),
    late_after_s=60.0,
    expected=(OSError, Unavailable),
    quiet_s=10.0,
)


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of this server's keys, and of the targets that REALITY dials; `mark` is on what Xray sends for customers.

    Without a mark REALITY's own dials cannot be told from customers', and nothing is counted.
    """

    keys: range
    targets: Collection[int] = ()
    mark: int | None = None


@dataclass(slots=True)
class ConnectionWatch:
    """Looks every two seconds, or less often where there are tens of thousands of connections.

    `pid` returns that of Xray; it raises XrayUnavailable. Where the kernel does not keep the bound of `bounds`, surplus
    connections of a source are ended here.
    """

    ports: Ports
    bounds: ConnectionBounds
    pid: Callable[[], int]
    now: Callable[[], float] = time.monotonic
    worker: Worker = field(init=False)
    open: int | None = field(default=None, init=False)
    ended: int = field(default=0, init=False)
    relayed: Bytes | None = field(default=None, init=False)
    descriptors: Descriptors | None = field(default=None, init=False)
    _since: dict[bytes, float] = field(default_factory=dict, init=False)  # when each open connection began
    _counted: dict[bytes, Bytes] = field(default_factory=dict, init=False)  # of REALITY's dials that still are open

    def __post_init__(self) -> None:
        """Make the worker; nothing is looked at before it starts."""
        self.worker = Worker(_JOB, self.look)

    def install(self) -> str:
        """Bound connections in the kernel from now on; return why that is impossible, or ""."""
        return self.bounds.install(self.ports.keys)

    def look(self) -> float:
        """Look once; return after how many seconds to look again. Raises OSError."""
        began = time.monotonic()
        self.descriptors = self._descriptors()
        clients = sockets.clients_of(self.ports.keys.start, self.ports.keys.stop - 1)
        self.open = len(clients)
        self._note(clients)
        self._count_relayed()
        # /health says when no connection can be ended; where Xray is away, none is left.
        with suppress(PermissionError, FileNotFoundError, Unavailable):
            self.ended += sockets.end(self._own(self._to_end(clients)))
        return max(_LOOK_EVERY_S, _REST * (time.monotonic() - began))

    def _descriptors(self) -> Descriptors | None:
        with suppress(OSError, Unavailable):
            return descriptors_of(self.pid())
        return None

    def _note(self, clients: Iterable[OpenSocket]) -> None:
        now = self.now()
        self._since = {
            one.identity: self._since.get(one.identity, now - (0.0 if one.received else one.quiet_s)) for one in clients
        }

    def _to_end(self, clients: Collection[OpenSocket]) -> list[OpenSocket]:
        """Return the connections without a first message in time, and those that one source has beyond the bound."""
        seen = self.descriptors
        is_pressed = seen is not None and seen.used > _PRESSURE * seen.limit
        oldest = self.now() - (_SILENT_UNDER_PRESSURE_S if is_pressed else SILENT_S)
        silent = [one for one in clients if one.received < HELLO_BYTES and self._since[one.identity] <= oldest]
        return [*silent, *self._surplus(clients, {one.identity for one in silent})]

    def _own(self, to_end: Collection[OpenSocket]) -> list[OpenSocket]:
        """Return those of Xray: another program may have a key's port."""
        if not to_end:
            return []
        own = sockets.socket_inodes(self.pid())
        # One that waits to be accepted has no inode yet, and is its listener's.
        ports = {port for port, inode in listening() if inode in own}
        return [one for one in to_end if (one.inode in own if one.inode else one.port in ports)]

    def _surplus(self, clients: Iterable[OpenSocket], left_out: Collection[bytes]) -> list[OpenSocket]:
        most = self.bounds.most.per_source
        if self.bounds.is_kept or not most:
            return []
        # The silent ones first, then the newest: who is connected stays.
        left = [one for one in clients if one.identity not in left_out]
        left.sort(key=lambda one: (one.received < HELLO_BYTES, self._since[one.identity]))
        so_far: Counter[str] = Counter()
        surplus = []
        for one in left:
            source = one.source
            so_far[source] += 1
            if so_far[source] > most and not source.startswith("127."):
                surplus.append(one)
        return surplus

    def _count_relayed(self) -> None:
        """Add what REALITY's dials to the targets carried since the last look, once it is more than a handshake."""
        if self.ports.mark is None:
            return
        with suppress(PermissionError, Unavailable):
            pid, mark = self.pid(), self.ports.mark
            seen = [one for port in self.ports.targets for one in sockets.unmarked_to(port, mark)]
            large = [one for one in seen if one.sent + one.received > _RELAYED_BYTES]
            # Sockets of other programs go to the same ports; which one has a socket is costly to find out.
            own = sockets.socket_inodes(pid) if any(one.identity not in self._counted for one in large) else set()
            known = {one.identity: one for one in large if one.identity in self._counted or one.inode in own}
            total = self.relayed or NOTHING
            for identity, one in known.items():
                before = self._counted.get(identity, NOTHING)
                total = Bytes(total.up + one.sent - before.up, total.down + one.received - before.down)
            self._counted = {identity: Bytes(one.sent, one.received) for identity, one in known.items()}
            self.relayed = total
