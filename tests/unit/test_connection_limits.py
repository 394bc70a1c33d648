"""Who may be connected, and who has to go when another one comes."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from vpnkeys.domain.limits.source import source_of
from vpnkeys.server.connection import AGENT_IDLE_S, GuardedProtocol
from vpnkeys.server.connection_limits import Connection, ConnectionLimiter

LIMIT_S = 10.0


class Visit:
    """A connection that notes when it is hung up on."""

    def __init__(self, source: str = "a") -> None:
        self.ended = 0
        self.connection = Connection(source, self._end)

    def _end(self) -> None:
        self.ended += 1


class Clock:
    """Seconds in a test's hand."""

    now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def visits(limiter: ConnectionLimiter, *sources: str) -> list[Visit]:
    """One connection from each of these sources, all let in."""
    made = [Visit(source) for source in sources]
    assert all(limiter.enter(visit.connection, LIMIT_S) for visit in made)
    return made


def ended(several: list[Visit]) -> list[int]:
    """How often each was hung up on."""
    return [visit.ended for visit in several]


def test_while_there_is_room_nobody_goes() -> None:
    """As many as there are places come in."""
    limiter = ConnectionLimiter(total=3)
    assert ended(visits(limiter, "a", "b", "c")) == [0, 0, 0]
    assert len(limiter) == 3


def test_agents_of_nodes_have_places_beside_the_others() -> None:
    """Two each, as long as there are files; nodes are counted only when all other places are taken."""
    counted: list[int] = []

    def nodes() -> int:
        counted.append(2)
        return 2

    limiter = ConnectionLimiter(total=3, nodes=nodes, most=6)
    first = visits(limiter, "a", "b", "c")
    assert counted == []
    more = visits(limiter, "d", "e", "f")
    assert ended([*first, *more]) == [0] * 6
    newcomer = visits(limiter, "g")
    assert (ended([*first, *more]), ended(newcomer)) == ([1, 0, 0, 0, 0, 0], [0]), "there are files for six"


def test_a_newcomer_takes_the_place_of_the_one_waited_for_longest() -> None:
    """When everybody is alone on an address, the order in which they are waited for decides."""
    limiter = ConnectionLimiter(total=3)
    first, second, third = several = visits(limiter, "a", "b", "c")
    limiter.serve(first.connection)
    limiter.wait_for(first.connection, LIMIT_S)
    visits(limiter, "d")
    assert (first.ended, second.ended, third.ended) == (0, 1, 0)
    visits(limiter, "e", "f")
    assert ended(several) == [1, 1, 1]
    assert len(limiter) == 3


def test_whose_request_is_in_progress_never_goes() -> None:
    """Who is being served stays, and when all are, the newcomer is refused."""
    limiter = ConnectionLimiter(total=2)
    served, waited_for = visits(limiter, "a", "b")
    limiter.serve(served.connection)
    (newcomer,) = visits(limiter, "c")
    assert (served.ended, waited_for.ended) == (0, 1)
    limiter.serve(newcomer.connection)
    assert not limiter.enter(Visit("d").connection, LIMIT_S)
    assert (served.ended, newcomer.ended, len(limiter)) == (0, 0, 2)
    limiter.leave(served.connection)
    visits(limiter, "d")


def test_the_largest_crowd_makes_room() -> None:
    """Somebody alone on an address keeps his idle connection while others have many."""
    limiter = ConnectionLimiter(total=4)
    alone, *crowd = visits(limiter, "alone", "crowd", "crowd", "crowd")
    visits(limiter, "new", "newer")
    assert alone.ended == 0
    assert ended(crowd) == [1, 1, 0]


def test_newcomers_go_last() -> None:
    """Who came a moment ago stays while there is somebody who has been here for longer, though he spoke last."""
    clock = Clock()
    limiter = ConnectionLimiter(total=2, clock=clock)
    (settled,) = visits(limiter, "a")
    clock.now = 5.0
    (newcomer,) = visits(limiter, "a")
    limiter.serve(settled.connection)
    limiter.wait_for(settled.connection, LIMIT_S)
    (newer,) = visits(limiter, "a")
    assert (settled.ended, newcomer.ended, newer.ended) == (1, 0, 0)
    visits(limiter, "a")
    assert (newcomer.ended, newer.ended) == (1, 0)


def test_one_source_has_so_many_places_and_no_more() -> None:
    """A source that has its fill displaces its own settled connections, not those of others, and not newcomers."""
    clock = Clock()
    limiter = ConnectionLimiter(total=10, of_one_source=2, clock=clock)
    (other,) = visits(limiter, "other")
    first, second = visits(limiter, "a", "a")
    assert not limiter.enter(Visit("a").connection, LIMIT_S)
    clock.now = 4.0
    (third, fourth) = several = visits(limiter, "a", "a")
    assert (first.ended, second.ended, other.ended, len(limiter)) == (1, 1, 0, 3)
    clock.now = 8.0
    for visit in several:
        limiter.serve(visit.connection)
    assert not limiter.enter(Visit("a").connection, LIMIT_S)
    limiter.wait_for(fourth.connection, LIMIT_S)
    visits(limiter, "a", "b")
    assert (third.ended, fourth.ended, other.ended) == (0, 1, 0)


def test_the_late_are_hung_up_on_when_their_time_is_over() -> None:
    """Not before, once, and never while they are served."""
    clock = Clock()
    limiter = ConnectionLimiter(clock=clock)
    late, served, patient = visits(limiter, "a", "b", "c")
    limiter.serve(served.connection)
    limiter.wait_for(patient.connection, 2 * LIMIT_S)
    clock.now = LIMIT_S - 0.1
    limiter.hang_up_on_late()
    assert (late.ended, served.ended, patient.ended) == (0, 0, 0)
    clock.now = LIMIT_S
    limiter.hang_up_on_late()
    limiter.hang_up_on_late()
    assert (late.ended, served.ended, patient.ended) == (1, 0, 0)
    assert len(limiter) == 2


def test_leaving_is_counted_once() -> None:
    """Who left, or was hung up on, has no place any more, whatever its connection still does."""
    limiter = ConnectionLimiter(total=1)
    (gone,) = visits(limiter, "a")
    (here,) = visits(limiter, "b")
    limiter.leave(gone.connection)
    limiter.leave(gone.connection)
    limiter.wait_for(gone.connection, LIMIT_S)
    assert (gone.ended, len(limiter), limiter.departed) == (1, 1, 1)
    visits(limiter, "c")
    assert (gone.ended, here.ended) == (1, 1)


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", "::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_subnet_is_one_source(address: str, source: str) -> None:
    """An IPv4 address stands for itself, also when written as IPv6; a /64 is one source."""
    assert source_of(address) == source


class Wire(asyncio.Transport):
    """A transport that leads nowhere."""

    def write(self, data: object) -> None:
        """Gone."""

    def is_closing(self) -> bool:
        """Never."""
        return False


@pytest.mark.parametrize(("path", "idle_s"), [("/agent/report", AGENT_IDLE_S), ("/api/keys", 5), ("/agents", 5)])
def test_an_agent_s_connection_stays_open_between_reports(path: str, idle_s: int) -> None:
    """Longer than the ten seconds between two; all others are closed as always."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        """No answer."""

    async def opened() -> GuardedProtocol:
        config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None)
        config.load()
        limiter = ConnectionLimiter()
        limiter.enter(connection := Connection("192.0.2.1"), 10.0)
        protocol = GuardedProtocol(connection, limiter, config=config, server_state=ServerState(), app_state={})
        protocol.connection_made(cast("Any", Wire()))
        protocol.data_received(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return protocol

    assert asyncio.run(opened()).timeout_keep_alive == idle_s
    assert AGENT_IDLE_S > 10
