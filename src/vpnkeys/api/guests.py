"""Who may be connected: so many in all, so many from one place, and who has to go when another one comes."""

import ipaddress
import time
from collections.abc import Callable, Iterable

MAX_GUESTS = 2_000
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


class Guest:
    """One connection, from its first packet on. `hang_up` ends it at once, whatever it is doing."""

    __slots__ = ("deadline", "entered_at", "hang_up", "source")

    def __init__(self, source: str, hang_up: Callable[[], object] = bool) -> None:
        self.source = source
        self.hang_up = hang_up
        self.entered_at = 0.0
        self.deadline = 0.0


class Guests:
    """All connections of one listener.

    One is *waited for* while it is its turn: to finish the handshake, to send a request, to take its answer. When
    somebody comes and all places are taken, such a one has to go: of the source that has most of them, the one that has
    been waited for longest, newcomers last. Where it is one source that takes all its places, newcomers do not have to
    go at all: they get to say what they want though others of that source come and go all the time. One whose whole
    request is here, and so waits for us, never has to.
    """

    def __init__(
        self,
        total: int = MAX_GUESTS,
        of_one_source: int = MAX_OF_ONE_SOURCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._of_one_source = of_one_source
        self._clock = clock
        self._count = 0
        self.departed = 0
        self._here: dict[str, set[Guest]] = {}
        # Dictionaries keep the order in which they were filled: the first one has been waited for longest.
        self._waited_for: dict[str, dict[Guest, None]] = {}

    def __len__(self) -> int:
        return self._count

    def enter(self, guest: Guest, limit_s: float) -> bool:
        """Let somebody in, who is waited for from now on, and hang up on somebody else if need be.

        False when there is no room at this moment, which is seldom a long one.
        """
        now = self._clock()
        if self._is_full_for(guest):
            leaving = self._who_goes_for(guest, now)
            if leaving is None:
                return False
            self._end(leaving)
        guest.entered_at = now
        self._here.setdefault(guest.source, set()).add(guest)
        self._count += 1
        self.wait_for(guest, limit_s)
        return True

    def wait_for(self, guest: Guest, limit_s: float) -> None:
        """It is the guest's turn now, for so many seconds."""
        if guest not in self._here.get(guest.source, ()):
            return  # somebody else has the place already
        self.serve(guest)
        guest.deadline = self._clock() + limit_s
        self._waited_for.setdefault(guest.source, {})[guest] = None

    def serve(self, guest: Guest) -> None:
        """It is our turn now."""
        crowd = self._waited_for.get(guest.source, {})
        if guest in crowd:
            del crowd[guest]
            if not crowd:
                del self._waited_for[guest.source]

    def leave(self, guest: Guest) -> None:
        """The connection is over, perhaps said twice."""
        self.serve(guest)
        neighbours = self._here.get(guest.source, set())
        if guest in neighbours:
            neighbours.remove(guest)
            self._count -= 1
            self.departed += 1
            if not neighbours:
                del self._here[guest.source]

    def hang_up_on_late(self) -> None:
        """End what has been waited for too long."""
        now = self._clock()
        late = [guest for crowd in self._waited_for.values() for guest in crowd if guest.deadline <= now]
        for guest in late:
            self._end(guest)

    def _has_its_fill(self, source: str) -> bool:
        return len(self._here.get(source, ())) >= self._of_one_source

    def _is_full_for(self, guest: Guest) -> bool:
        return self._count >= self._total or self._has_its_fill(guest.source)

    def _who_goes_for(self, guest: Guest, now: float) -> Guest | None:
        if self._has_its_fill(guest.source):
            return _settled(self._waited_for.get(guest.source, {}), now)
        crowd = max(self._waited_for.values(), key=len, default={})  # the first of the largest
        return _settled(crowd, now) or next(iter(crowd), None)

    def _end(self, guest: Guest) -> None:
        self.leave(guest)
        guest.hang_up()


def _settled(crowd: Iterable[Guest], now: float) -> Guest | None:
    """The first who is no newcomer."""
    return next((guest for guest in crowd if guest.entered_at <= now - _NEWCOMER_S), None)
