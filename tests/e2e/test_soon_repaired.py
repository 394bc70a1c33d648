"""What another program does to config.json, to Xray and to the ports of keys is found within seconds."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.support.agreement import agreement
from tests.support.clients import XrayClient
from tests.support.drift import DRIFTS
from tests.support.keys import carries, link_of, make_key
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

SOON_S = 8.0


@pytest.fixture(scope="module")
def service(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """A service of these tests' own."""
    with Service(target, egress_allow=egress) as service:
        service.wait_ready()
        yield service


@pytest.mark.parametrize("words", ["removed from", "config.json deleted"])
def test_it_is_repaired_without_a_word(service: Service, byte_server: ByteServer, words: str) -> None:
    """The customer is in again."""
    key = make_key(service)
    next(drift for drift in DRIFTS if words in drift.name).make(service, key)
    config = service.data_dir / "config.json"
    service.child.wait_for(lambda: config.exists() and agreement(service) == [], "agreement", SOON_S)
    with XrayClient(link_of(service, key)) as client:
        assert carries(client.socks, byte_server)


def test_a_program_that_shares_a_port_is_named(service: Service) -> None:
    """In /health and in `ports/status`, until it is gone."""
    key = make_key(service)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", key["port"]))
        other.listen()
        service.child.wait_for(lambda: "port_taken" in service.client.get("/health").text, "port_taken", SOON_S)
        (issue,) = service.client.get("/api/system/ports/status").json()["validation"]["issues"]
        assert f"port {key['port']} of key {key['id']} is shared" in issue
    service.child.wait_for(lambda: "port_taken" not in service.client.get("/health").text, "no word of it", SOON_S)
