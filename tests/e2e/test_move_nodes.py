"""Keys that move between two nodes with real Xrays, and a machine that takes another's place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from tests.support.agent import AgentNode
from tests.support.clients import SingBoxClient
from tests.support.keys import Key, carries, delete_key, link_of
from tests.support.link import VlessLink
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer, transfer
from tests.support.target import RealityTarget

from vpnkeys.client import Unauthorized
from vpnkeys.client.agent import ControlPlane

pytestmark = pytest.mark.e2e

KNOWN_BYTES = 300_000


@pytest.fixture(scope="module")
def plane(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """A control plane of this module's own."""
    with Service(target, egress_allow=egress) as plane:
        plane.wait_ready()
        yield plane


@contextmanager
def running(*nodes: AgentNode) -> Iterator[Sequence[AgentNode]]:
    """Nodes that are up; each reports every second."""
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        for node in nodes:
            stack.callback(node.close)
            node.report_often()
        list(pool.map(AgentNode.start, nodes))
        for node in nodes:
            node.wait_up()
        yield nodes


def make(plane: Service, node: str) -> Key:
    """A key on a node."""
    answer = plane.client.post("/api/keys", json={"name": "moving", "node": node})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def counted(plane: Service, key: Key) -> int:
    """What the control plane has counted of a key."""
    return int(plane.client.get(f"/api/keys/{key['id']}/traffic").raise_for_status().json()["total_bytes"])


def use(client: SingBoxClient, byte_server: ByteServer) -> None:
    """Carry a known number of bytes each way."""
    with byte_server.open(client.socks) as sock:
        transfer(sock, KNOWN_BYTES, KNOWN_BYTES)


def test_keys_move_and_no_byte_is_lost(
    plane: Service, target: RealityTarget, egress: tuple[str, ...], byte_server: ByteServer
) -> None:
    """The new link carries when it is answered and the old one does not; a neighbour's connection stays open."""
    nodes = [AgentNode(target, plane, name, egress_allow=egress) for name in ("far-1", "far-2")]
    with running(*nodes) as (old, new):
        key, neighbour = make(plane, "far-1"), make(plane, "far-2")
        with (
            SingBoxClient(link_of(plane, key)) as before,
            SingBoxClient(link_of(plane, neighbour)) as beside,
            byte_server.open(beside.socks) as open_one,
        ):
            transfer(open_one, 1_000, 1_000)
            use(before, byte_server)
            answer = plane.client.post("/api/nodes/far-1/move", json={"to": "far-2"})
            assert answer.status_code == 200, answer.text
            moves = answer.json()
            (moved,) = moves["moved"]
            assert (moves["failed"], moves["has_stopped"]) == ([], True), old.log()
            with SingBoxClient(VlessLink.parse(moved["new"]["link"])) as after:
                use(after, byte_server)
            assert not carries(before.socks, byte_server, timeout=3.0)
            transfer(open_one, KNOWN_BYTES, KNOWN_BYTES)
        assert moved["old"]["port"] == key["port"]
        now = plane.client.get(f"/api/keys/{key['id']}").raise_for_status().json()
        assert (now["node"], now["uuid"], now["name"]) == ("far-2", key["uuid"], key["name"])
        assert wait_until(lambda: counted(plane, key) >= 4 * KNOWN_BYTES), new.log()
        assert counted(plane, key) < 4 * KNOWN_BYTES + 40_000
        assert wait_until(lambda: old.seen()["applied"] == old.seen()["desired"])
        old.stop()
        answer = plane.client.post("/api/nodes/far-2/move", json={"to": "local"}).raise_for_status().json()
        assert {one["key_id"] for one in answer["moved"]} == {key["id"], neighbour["id"]}
        with SingBoxClient(link_of(plane, key)) as here:
            assert carries(here.socks, byte_server)
        assert plane.client.get("/api/system/config-status").json()["synchronized"]
        for one in (key, neighbour):
            delete_key(plane, one)
        for name in ("far-1", "far-2"):
            assert plane.client.delete(f"/api/nodes/{name}").status_code == 200
        new.stop()


def test_a_new_machine_serves_the_old_links(
    plane: Service, target: RealityTarget, egress: tuple[str, ...], byte_server: ByteServer
) -> None:
    """With the ports and the key pair of the former one, whose token opens nothing any more; all is counted."""
    old = AgentNode(target, plane, "spare", egress_allow=egress)
    new = AgentNode(target, plane, "spare", egress_allow=egress)
    with running(old):
        key = make(plane, "spare")
        link = link_of(plane, key)
        with SingBoxClient(link) as client:
            use(client, byte_server)
            assert wait_until(lambda: counted(plane, key) >= 2 * KNOWN_BYTES), old.log()
            old.stop()
            member = json.loads((old.data_dir / "agent.json").read_bytes())
            new.replace()
            with running(new):
                assert wait_until(lambda: carries(client.socks, byte_server)), new.log()
                assert link_of(plane, key) == link
                use(client, byte_server)
                former = ControlPlane(member["url"], member["token"], member["fingerprint"])
                with pytest.raises(Unauthorized):
                    former.desired("")
                former.close()
                assert wait_until(lambda: counted(plane, key) >= 4 * KNOWN_BYTES), new.log()
                assert counted(plane, key) < 4 * KNOWN_BYTES + 40_000
                assert new.seen()["port_range"] == member["port_range"]
                delete_key(plane, key)
