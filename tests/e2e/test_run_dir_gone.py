"""The directory of sockets is removed while the server runs: limits hold, bytes are counted, and it comes back."""

from __future__ import annotations

import shutil

import pytest
from tests.support.clients import XrayClient
from tests.support.keys import link_of, make_key
from tests.support.service import Service
from tests.support.streams import ByteServer, transfer
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e


def test_the_sockets_are_made_again(target: RealityTarget, egress: tuple[str, ...], byte_server: ByteServer) -> None:
    """What passes meanwhile is counted by what is open; within seconds another Xray has its socket again."""
    with Service(target, egress_allow=egress) as service:
        service.wait_ready()
        key = make_key(service)
        with XrayClient(link_of(service, key)) as client:
            before = service.xray_pid()
            service.client.get(f"/api/keys/{key['id']}/traffic").raise_for_status()  # a channel is open, as always
            shutil.rmtree((service.data_dir / "run").resolve())
            with byte_server.open(client.socks) as stream:
                transfer(stream, 1000, 500_000)
            traffic = service.client.get(f"/api/keys/{key['id']}/traffic").raise_for_status().json()
            assert traffic["total_bytes"] > 500_000
            service.child.wait_for((service.data_dir / "run" / "api.sock").exists, "the socket", 20.0)
            service.wait_ready()
            assert service.xray_pid() != before
            with byte_server.open(client.socks) as stream:
                transfer(stream, 1000, 500_000)
            traffic = service.client.get(f"/api/keys/{key['id']}/traffic").raise_for_status().json()
            assert traffic["total_bytes"] > 1_000_000
