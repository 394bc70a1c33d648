"""What a limited key gets, and what its neighbour loses, through real Xrays over a path of a realistic length."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.support import process
from tests.support.clients import XrayClient
from tests.support.goodput import Direction, Flow, goodput, rate_of
from tests.support.keys import link_of, make_key
from tests.support.longpath import NEAR4, NEAR6, LongPath
from tests.support.room import Room, _enter, can_make_rooms
from tests.support.service import Service
from tests.support.socks import Address
from tests.support.streams import ByteServer, Echo, PingPong
from tests.support.target import RealityTarget

from vpnkeys.xray.host.guard import table_of
from vpnkeys.xray.host.speed import SpeedLimiter

pytestmark = [
    pytest.mark.bench,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not can_make_rooms() or not Path("/dev/net/tun").exists(), reason="needs root, nft and TUN"),
]

SECONDS = 10
RATES_MBPS = (5, 20, 100)
WAYS: tuple[Direction, Direction] = ("down", "up")
LISTEN = {"VPNKEYS_INBOUND_LISTEN": "::"}


@dataclass(frozen=True)
class Scene:
    """A server in one namespace with its far ends, a client in the other; `limited` is a key by IPv4 and by IPv6."""

    name: str
    room: Room
    limiter: SpeedLimiter
    port: int
    byte_server: ByteServer
    echo: Echo
    limited: tuple[Address, Address]
    neighbour: Address


@contextmanager
def _in_far(room: Room) -> Iterator[None]:
    """Processes and sockets of the calling thread belong to `far`."""
    process._spawner.submit(_enter, room._far).result()
    try:
        with room.far():
            yield
    finally:
        process._spawner.submit(_enter, room._near).result()


@pytest.fixture(scope="module", params=[40, 150])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Set the scene at one distance or the other."""
    with ExitStack() as stack:
        room = stack.enter_context(Room())
        stack.enter_context(LongPath(room, request.param, tmp_path_factory.mktemp("path")))
        byte_server, echo = stack.enter_context(ByteServer()), stack.enter_context(Echo())
        target = stack.enter_context(RealityTarget(["site.test"], close_idle_s=0.1))
        allow = (byte_server.egress_rule, echo.egress_rule)
        service = stack.enter_context(Service(target, egress_allow=allow, settings=LISTEN))
        service.wait_ready()
        limited, neighbour = (link_of(service, make_key(service, name)) for name in ("limited", "neighbour"))
        links = [replace(limited, host=NEAR4), replace(limited, host=NEAR6), replace(neighbour, host=NEAR4)]
        with _in_far(room):
            client = stack.enter_context(XrayClient.many(links))
        limiter = SpeedLimiter(f"{table_of(service.data_dir)}_bench")
        ipv4, ipv6, other = client.proxies
        yield Scene(f"{request.param} ms", room, limiter, limited.port, byte_server, echo, (ipv4, ipv6), other)
        limiter.remove()


def _say(text: str) -> None:
    sys.stdout.write(f"\n{text}")
    sys.stdout.flush()


def test_accuracy(scene: Scene) -> None:
    """Goodput over ten seconds as a share of the limit: the whole, and its last five seconds, without the bucket."""
    for mbps in RATES_MBPS:
        for direction in WAYS:
            for count in (1, 4):
                scene.limiter.apply({scene.port: mbps})
                with ExitStack() as flows, scene.room.far():
                    all_flows = [
                        flows.enter_context(Flow(scene.byte_server, scene.limited[number % 2], direction))
                        for number in range(count)
                    ]
                    halves = [rate_of(all_flows, SECONDS / 2) / mbps for _ in range(2)]
                _say(
                    f"{scene.name:>7}  {mbps:4} Mbit/s {direction:4} {count} connection(s): "
                    f"{statistics.mean(halves):4.0%}, last five seconds {halves[1]:4.0%}"
                )
                time.sleep(0.5)


def test_neighbour(scene: Scene) -> None:
    """What the neighbour gets of the path, and how its messages fare, with and without a limited key at work."""
    for what, limits in (("alone", {}), ("beside 20 Mbit/s", {scene.port: 20})) * 3:
        scene.limiter.apply(limits)
        with ExitStack() as stack, scene.room.far():
            for direction in WAYS if limits else ():
                stack.enter_context(Flow(scene.byte_server, scene.limited[0], direction))
            with PingPong(scene.echo.open(scene.neighbour)) as messages:
                time.sleep(SECONDS / 2)
            trips = messages.round_trips_s
            rates = [goodput(scene.byte_server, [scene.neighbour], way, SECONDS / 2) for way in WAYS]
        _say(
            f"{scene.name:>7}  neighbour {what:16}: {rates[0]:.0f} Mbit/s down, {rates[1]:.0f} up; "
            f"messages {statistics.median(trips) * 1000:.0f} ms, {max(trips) * 1000:.0f} at most"
        )
