"""Who may be connected: so many in all, so many from one place, and who has to go when another one comes."""

import ipaddress
import time
from collections.abc import Callable, Iterable

MAX_CONNECTIONS = 2_000
MAX_OF_ONE_SOURCE = 256

_V6_SUBNET_BITS = 64
"""What one customer of a provider has at least; each address in it costs him nothing."""

_NEWCOMER_S = 4.0
"""Enough for a handshake and a request over a slow path."""


def source_of(address: str) -> str:
    """Where an address belongs: an IPv4 address is a place of its own, an IPv6 address is its /64.

    What is no address (a Unix socket has none) is a place of its own too.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    # The scope of a link-local address says which network card it came by.
    plain = ipaddress.IPv6Address(int(parsed))
    return str(ipaddress.IPv6Network((plain, _V6_SUBNET_BITS), strict=False))


class Connection:
    """One connection, from its first packet on. `hang_up` ends it at once, whatever it is doing."""

    __slots__ = ("deadline", "entered_at", "hang_up", "source")

    def __init__(self, source: str, hang_up: Callable[[], object] = bool) -> None:
        self.source = source
        self.hang_up = hang_up
        self.entered_at = 0.0
        self.deadline = 0.0


class ConnectionLimiter:
    """All connections of one listener.

    One is *waited for* while it is its turn: to finish the handshake, to send a request, to take its answer. When
    somebody comes and all places are taken, such a one has to go: of the source that has most of them, the one that has
    been waited for longest, newcomers last. Where it is one source that takes all its places, newcomers do not have to
    go at all: they get to say what they want though others of that source come and go all the time. One whose whole
    request is here, and so waits for us, never has to.
    """

    def __init__(
        self,
        total: int = MAX_CONNECTIONS,
        of_one_source: int = MAX_OF_ONE_SOURCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._of_one_source = of_one_source
        self._clock = clock
        self._count = 0
        self.departed = 0
        self._here: dict[str, set[Connection]] = {}
        # Dictionaries keep the order in which they were filled: the first one has been waited for longest.
        self._waited_for: dict[str, dict[Connection, None]] = {}

    def __len__(self) -> int:
        return self._count

    def enter(self, connection: Connection, limit_s: float) -> bool:
        """Let somebody in, who is waited for from now on, and hang up on somebody else if need be.

        False when there is no room at this moment, which is seldom a long one.
        """
        now = self._clock()
        if self._is_full_for(connection):
            leaving = self._who_goes_for(connection, now)
            if leaving is None:
                return False
            self._end(leaving)
        connection.entered_at = now
        self._here.setdefault(connection.source, set()).add(connection)
        self._count += 1
        self.wait_for(connection, limit_s)
        return True

    def wait_for(self, connection: Connection, limit_s: float) -> None:
        """It is the client's turn now, for so many seconds."""
        if connection not in self._here.get(connection.source, ()):
            return  # somebody else has the place already
        self.serve(connection)
        connection.deadline = self._clock() + limit_s
        self._waited_for.setdefault(connection.source, {})[connection] = None

    def serve(self, connection: Connection) -> None:
        """It is our turn now."""
        crowd = self._waited_for.get(connection.source, {})
        if connection in crowd:
            del crowd[connection]
            if not crowd:
                del self._waited_for[connection.source]

    def leave(self, connection: Connection) -> None:
        """The connection is over, perhaps said twice."""
        self.serve(connection)
        neighbours = self._here.get(connection.source, set())
        if connection in neighbours:
            neighbours.remove(connection)
            self._count -= 1
            self.departed += 1
            if not neighbours:
                del self._here[connection.source]

    def hang_up_on_late(self) -> None:
        """End what has been waited for too long."""
        now = self._clock()
        late = [connection for crowd in self._waited_for.values() for connection in crowd if connection.deadline <= now]
        for connection in late:
            self._end(connection)

    def _has_its_fill(self, source: str) -> bool:
        return len(self._here.get(source, ())) >= self._of_one_source

    def _is_full_for(self, connection: Connection) -> bool:
        return self._count >= self._total or self._has_its_fill(connection.source)

    def _who_goes_for(self, connection: Connection, now: float) -> Connection | None:
        if self._has_its_fill(connection.source):
            return _settled(self._waited_for.get(connection.source, {}), now)
        crowd = max(self._waited_for.values(), key=len, default={})  # the first of the largest
        return _settled(crowd, now) or next(iter(crowd), None)

    def _end(self, connection: Connection) -> None:
        self.leave(connection)
        connection.hang_up()


def _settled(crowd: Iterable[Connection], now: float) -> Connection | None:
    """The first who is no newcomer."""
    return next((connection for connection in crowd if connection.entered_at <= now - _NEWCOMER_S), None)
