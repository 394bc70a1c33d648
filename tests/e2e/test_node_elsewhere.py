"""A node with an agent: its keys carry, are counted here and stop, whatever becomes of the control plane."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.agent import AgentNode
from tests.support.clients import SingBoxClient, XrayClient
from tests.support.keys import Key, carries, delete_key, link_of, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer, transfer
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

KNOWN_BYTES = 300_000


@pytest.fixture(scope="module")
def node(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[AgentNode]:
    """A node that is up, and its control plane."""
    with Service(target, egress_allow=egress) as plane:
        plane.wait_ready()
        node = AgentNode(target, plane, "far-1", egress_allow=egress)
        node.report_often()
        with node:
            node.wait_up()
            yield node


def make_far(node: AgentNode, **fields: object) -> Key:
    """A key on the node."""
    answer = node.plane.client.post("/api/keys", json={"name": "far", "node": node.name, **fields})
    assert answer.status_code == 200, answer.text
    made = dict(answer.json())
    assert (made["node"], made["port"] in node.ports) == (node.name, True)
    return made


def counted(node: AgentNode, key: Key) -> int:
    """What the control plane has counted of a key."""
    return int(node.plane.client.get(f"/api/keys/{key['id']}/traffic").raise_for_status().json()["total_bytes"])


def test_a_key_lives_on_its_node_and_is_counted_here(node: AgentNode, byte_server: ByteServer) -> None:
    """200 means that its link carries; each byte is counted once; after the delete nobody gets in, and none is cut."""
    key, other = make_far(node), make_key(node.plane)
    link = link_of(node.plane, key)
    with SingBoxClient.many([link, link_of(node.plane, other)]) as client:
        far, here = client.proxies
        with byte_server.open(far) as sock:
            transfer(sock, KNOWN_BYTES, KNOWN_BYTES)
        assert wait_until(lambda: counted(node, key) >= 2 * KNOWN_BYTES), node.log()
        assert counted(node, key) < 2 * KNOWN_BYTES + 20_000
        assert node.plane.client.get("/api/system/config-status").json()["synchronized"], "no key of the node is drift"
        delete_key(node.plane, key)
        assert not carries(far, byte_server, timeout=3.0)
        assert carries(here, byte_server)
    assert node.seen()["keys"] == 0


def test_a_change_is_in_force_when_it_is_answered(node: AgentNode, byte_server: ByteServer) -> None:
    """Switched off and on; a new link works and the old one does not."""
    key = make_far(node)
    path = f"/api/keys/{key['id']}"
    with SingBoxClient(link_of(node.plane, key)) as client:
        assert carries(client.socks, byte_server)
        node.plane.client.patch(path, json={"is_active": False}).raise_for_status()
        assert not carries(client.socks, byte_server, timeout=3.0)
        node.plane.client.patch(path, json={"is_active": True}).raise_for_status()
        assert carries(client.socks, byte_server)
        rotated = node.plane.client.post(f"{path}/rotate", json={"uuid": True, "short_id": True})
        assert rotated.status_code == 200, rotated.text
        assert not carries(client.socks, byte_server, timeout=3.0)
    with SingBoxClient(link_of(node.plane, key)) as client:
        assert carries(client.socks, byte_server)
    delete_key(node.plane, key)


def test_customers_notice_nothing_of_a_control_plane_that_is_down(node: AgentNode, byte_server: ByteServer) -> None:
    """A connection stays open and new ones are let in, also after a restart of the node; all is counted in the end."""
    key = make_far(node)
    link = link_of(node.plane, key)
    with XrayClient(link) as client, byte_server.open(client.socks) as sock:
        transfer(sock, 1_000, 1_000)
        node.plane.kill()
        transfer(sock, KNOWN_BYTES, KNOWN_BYTES)
        assert carries(client.socks, byte_server)
    node.stop()
    node.start()
    with XrayClient(link) as client:
        assert wait_until(lambda: carries(client.socks, byte_server)), node.log()
        node.plane.start()
        node.wait_up()
        assert carries(client.socks, byte_server)
    assert wait_until(lambda: counted(node, key) >= 2 * KNOWN_BYTES)
    delete_key(node.plane, key)


def test_a_silent_node_delays_nobody_and_follows_when_it_is_back(node: AgentNode, byte_server: ByteServer) -> None:
    """A stop is stored and said not to be in force yet; nothing is made there; keys elsewhere are as always."""
    key = make_far(node)
    link = link_of(node.plane, key)
    node.stop()
    answer = node.plane.client.delete(f"/api/keys/{key['id']}")
    assert (answer.status_code, answer.json()["code"]) == (503, "node_silent")
    assert "Retry-After" in answer.headers
    made = node.plane.client.post("/api/keys", json={"name": "far", "node": node.name})
    assert (made.status_code, made.json()["code"]) == (503, "node_silent")
    delete_key(node.plane, make_key(node.plane))
    node.start()
    node.wait_up()
    with SingBoxClient(link) as client:
        assert not carries(client.socks, byte_server, timeout=3.0)
    assert node.plane.client.delete(f"/api/keys/{key['id']}").status_code == 200, "a repeat says that it is in force"
