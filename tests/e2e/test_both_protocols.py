"""A host with IPv4 and IPv6 is reached by both, and one with IPv6 alone says where it is, without a single setting."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
from tests.support.clients import XrayClient
from tests.support.keys import carries, link_of, make_key
from tests.support.room import METADATA, PRIVATE4, PUBLIC4, PUBLIC6, Room, can_make_rooms
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not can_make_rooms(), reason="needs root, ip and nft for a network of its own"),
]

# What an operator may leave out.
_LEFT_OUT = dict.fromkeys(("VPNKEYS_LISTEN", "VPNKEYS_INBOUND_LISTEN", "VPNKEYS_SERVER_ADDRESS"))


@contextmanager
def _served(byte_server: ByteServer) -> Iterator[Service]:
    """A server by its defaults, on the port that is free in a network of its own."""
    with RealityTarget(["site.test"], close_idle_s=0.1) as target:
        service = Service(target, egress_allow=[byte_server.egress_rule], settings=_LEFT_OUT)
        service.address = ("127.0.0.1", 8000)
        with service:
            service.wait_ready()
            yield service


def _answers(host: str) -> bool:
    """Whether the API is there."""
    with httpx.Client(verify=False, trust_env=False, timeout=10.0) as client:  # noqa: S501 - its own certificate
        return client.get(f"https://{host}:8000/health").status_code == httpx.codes.OK


def test_both_reach_api_and_keys() -> None:
    """By each address of the host, and so does the key's link."""
    with Room(), ByteServer() as far, _served(far) as service:
        for host in ("127.0.0.1", PUBLIC4, "[::1]", f"[{PUBLIC6}]"):
            assert _answers(host), host
        link = link_of(service, make_key(service))
        for host in (PUBLIC4, PUBLIC6):
            with XrayClient(replace(link, host=host)) as client:
                assert carries(client.socks, far), host


def test_ipv6_alone_is_enough() -> None:
    """What the server says of itself is where it listens, and its links lead there."""
    with Room(), ByteServer() as far:
        for address in (f"{PUBLIC4}/24", f"{PRIVATE4}/24", f"{METADATA}/32"):
            subprocess.run(["ip", "addr", "del", address, "dev", "near"], check=True)
        with _served(far) as service:
            assert f"serves https://[{PUBLIC6}]:8000" in service.log()
            assert _answers(f"[{PUBLIC6}]")
            link = link_of(service, make_key(service))
            assert link.host == PUBLIC6
            with XrayClient(link) as client:
                assert carries(client.socks, far)
