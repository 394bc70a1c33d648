"""Limits how many connections are open, in all and from one source, and chooses which one a new one replaces."""

import time
from collections.abc import Callable, Iterable
from math import inf

MAX_CONNECTIONS = 2_000
OF_ONE_AGENT = 2
"""An agent keeps one on which it waits for news, and one for its reports."""
MAX_OF_ONE_SOURCE = 256

_GRACE_S = 4.0
"""Time for a handshake and a first request over a slow path, during which a connection is closed last."""


class Connection:
    """One accepted connection, from before its TLS handshake on. `hang_up` closes it at once, at any stage."""

    __slots__ = ("deadline", "entered_at", "hang_up", "source")

    def __init__(self, source: str, hang_up: Callable[[], object] = bool) -> None:
        self.source = source
        self.hang_up = hang_up
        self.entered_at = 0.0
        self.deadline = 0.0


class ConnectionLimiter:
    """Counts the connections of one listener, and closes one when a new one comes and there is no room.

    A connection *waits for its client* while the client has to finish the handshake, send a request or read its answer.
    Only such a connection is closed: of the source with most of them, the one that has waited longest; one younger than
    four seconds last. When it is the new connection's own source that is full, one of that source is closed, and none
    younger than four seconds: else a flood from that source would close each before its request had come. A connection
    whose whole request has come is never closed. Measurements: docs/adr/0010-connections.md.

    Nodes elsewhere have places beside the `total`: their agents, which keep their connections, would take those of
    everybody else. `most` is for how many connections there are files.

    Not thread-safe: it belongs to the listener's event loop.
    """

    def __init__(
        self,
        total: int = MAX_CONNECTIONS,
        of_one_source: int = MAX_OF_ONE_SOURCE,
        clock: Callable[[], float] = time.monotonic,
        nodes: Callable[[], int] = lambda: 0,
        most: float = inf,
    ) -> None:
        self._total = total
        self._nodes, self._most = nodes, most
        self._of_one_source = of_one_source
        self._clock = clock
        self._count = 0
        self.departed = 0
        self._by_source: dict[str, set[Connection]] = {}
        # A dictionary as an ordered set: the first connection of each source has waited longest.
        self._awaiting_client: dict[str, dict[Connection, None]] = {}

    def __len__(self) -> int:
        return self._count

    def enter(self, connection: Connection, limit_s: float) -> bool:
        """Admit a connection, which has `limit_s` seconds for its first stage; close another one when it is full.

        Return False when there is no room and no connection may be closed; try again a moment later.
        """
        now = self._clock()
        if self._is_full_for(connection):
            evicted = self._connection_to_evict(connection, now)
            if evicted is None:
                return False
            self._end(evicted)
        connection.entered_at = now
        self._by_source.setdefault(connection.source, set()).add(connection)
        self._count += 1
        self.wait_for(connection, limit_s)
        return True

    def wait_for(self, connection: Connection, limit_s: float) -> None:
        """Wait for the client, for `limit_s` seconds at most."""
        if connection not in self._by_source.get(connection.source, ()):
            return  # closed already; its protocol may report a stage after that
        self.serve(connection)
        connection.deadline = self._clock() + limit_s
        self._awaiting_client.setdefault(connection.source, {})[connection] = None

    def serve(self, connection: Connection) -> None:
        """Stop waiting for the client: its whole request has come."""
        waiting = self._awaiting_client.get(connection.source, {})
        if connection in waiting:
            del waiting[connection]
            if not waiting:
                del self._awaiting_client[connection.source]

    def leave(self, connection: Connection) -> None:
        """Remove a connection that has ended. A second call does nothing."""
        self.serve(connection)
        same_source = self._by_source.get(connection.source, set())
        if connection in same_source:
            same_source.remove(connection)
            self._count -= 1
            self.departed += 1
            if not same_source:
                del self._by_source[connection.source]

    def hang_up_on_late(self) -> None:
        """Close the connections whose clients have used up their time."""
        now = self._clock()
        # A list first: closing changes the dictionaries.
        late = [
            connection
            for waiting in self._awaiting_client.values()
            for connection in waiting
            if connection.deadline <= now
        ]
        for connection in late:
            self._end(connection)

    def _is_source_full(self, source: str) -> bool:
        return len(self._by_source.get(source, ())) >= self._of_one_source

    def _is_full_for(self, connection: Connection) -> bool:
        return self._is_full() or self._is_source_full(connection.source)

    def _is_full(self) -> bool:
        # Nodes are counted only when it matters: each new connection asks.
        return self._count >= self._total and self._count >= min(self._total + OF_ONE_AGENT * self._nodes(), self._most)

    def _connection_to_evict(self, connection: Connection, now: float) -> Connection | None:
        if self._is_source_full(connection.source):
            return _first_past_grace(self._awaiting_client.get(connection.source, {}), now)
        waiting = max(self._awaiting_client.values(), key=len, default={})
        # Of the largest source, so that a client that is alone on its address, such as the operator, is spared.
        return _first_past_grace(waiting, now) or next(iter(waiting), None)

    def _end(self, connection: Connection) -> None:
        self.leave(connection)
        connection.hang_up()


def _first_past_grace(waiting: Iterable[Connection], now: float) -> Connection | None:
    """Return the first connection that is older than the grace time."""
    return next((connection for connection in waiting if connection.entered_at <= now - _GRACE_S), None)
