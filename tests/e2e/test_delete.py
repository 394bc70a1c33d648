"""A deleted key is shut at once, its open connections too, and nobody else notices anything."""

from __future__ import annotations

import socket
import time

import pytest
from tests.support.clients import Client
from tests.support.keys import carries, delete_key, link_of, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.stamped import StampedStream
from tests.support.streams import ByteServer, Echo, PingPong, ended_within, open_idle

from vpnkeys.xray.host.sockets import can_cut

pytestmark = pytest.mark.e2e

ENDED_WITHIN_S = 1.0
ON_THE_ROAD_S = 0.05  # what left Xray before the cut may still be in the client's hands
LONGEST_STALL_S = 0.2
KEYS_THAT_COME_AND_GO = 20


@pytest.mark.skipif(not can_cut(), reason="cutting needs CAP_NET_ADMIN")
def test_a_delete_cuts_what_is_open(service: Service, echo: Echo, client_type: type[Client]) -> None:
    """After the answer the key's busy and idle connections end within a second, and no byte sent later arrives."""
    key = make_key(service)
    with client_type(link_of(service, key)) as client:
        idle = open_idle(echo.open(client.socks))
        with idle, StampedStream(echo.open(client.socks)) as stream:
            assert wait_until(lambda: len(stream.arrivals) > 50)
            delete_key(service, key)
            answered_at = time.monotonic()
            until = answered_at + ENDED_WITHIN_S * slowness()
            assert stream.wait_ended(until - time.monotonic())
            assert ended_within(idle, max(0.0, until - time.monotonic()))
            last = stream.arrivals[-1]
            assert last.sent_at < answered_at
            assert last.arrived_at < answered_at + ON_THE_ROAD_S * slowness()


def test_a_deleted_key_lets_nobody_in(service: Service, byte_server: ByteServer, client_type: type[Client]) -> None:
    """After the answer a new connection gets nothing, and nothing listens on the port."""
    key, kept = make_key(service), make_key(service)
    with client_type.many([link_of(service, key), link_of(service, kept)]) as client:
        deleted_proxy, kept_proxy = client.proxies
        assert carries(deleted_proxy, byte_server)
        delete_key(service, key)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", key["port"]), 1.0).close()
        assert not carries(deleted_proxy, byte_server, timeout=5.0)
        assert carries(kept_proxy, byte_server)
    delete_key(service, kept)


def test_a_deleted_key_is_shut_after_its_port_is_used_again(
    service: Service, byte_server: ByteServer, client_type: type[Client]
) -> None:
    """The next key on the same port does not let the former customer in."""
    former = make_key(service)
    with client_type(link_of(service, former)) as client:
        delete_key(service, former)
        heir = make_key(service)
        assert heir["port"] == former["port"]
        assert not carries(client.socks, byte_server, timeout=5.0)
    with client_type(link_of(service, heir)) as client:
        assert carries(client.socks, byte_server)
    delete_key(service, heir)


def test_others_do_not_notice(service: Service, echo: Echo, client_type: type[Client]) -> None:
    """While twenty keys come, are used and go, another key's stream neither breaks nor stalls for 200 ms."""
    key = make_key(service, "bystander")
    with client_type(link_of(service, key)) as client, PingPong(echo.open(client.socks)) as stream:

        def let_it_tick() -> None:
            seen = len(stream.round_trips_s)
            assert wait_until(lambda: len(stream.round_trips_s) > seen or stream.broken is not None)

        for _ in range(KEYS_THAT_COME_AND_GO):
            passing = make_key(service, "passing")
            let_it_tick()
            delete_key(service, passing)
            let_it_tick()
        assert stream.broken is None
        assert stream.stall_s < LONGEST_STALL_S
        assert len(stream.round_trips_s) >= 2 * KEYS_THAT_COME_AND_GO
    delete_key(service, key)
