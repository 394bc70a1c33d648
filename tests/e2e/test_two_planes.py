"""Two control planes on one PostgreSQL, behind a balancer: either may die at any moment, and nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from tests.support.certificates import Authority
from tests.support.orders import Deployment, lose_nothing
from tests.support.planes import API_KEY, Balancer, SimulatedAgent, control_plane, fingerprint_of
from tests.support.postgres import Cluster
from tests.support.process import wait_until
from tests.support.receiver import Receiver
from tests.support.rows import rows_of
from tests.support.service import Service
from tests.support.target import RealityTarget

from vpnkeys.client import ApiError, Client

pytestmark = pytest.mark.e2e

DEATHS, EVERY_S = 6, 10.0


@pytest.fixture(scope="module")
def agents() -> list[SimulatedAgent]:
    """The agents of the deployment."""
    return []


@pytest.fixture(scope="module")
def deployment(
    target: RealityTarget, postgres: Cluster, agents: list[SimulatedAgent], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Two control planes, two nodes that are up, and a webhook."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    certificate = authority.issue(["127.0.0.1"])
    database = postgres.empty_database()
    with ExitStack() as until:
        first = until.enter_context(control_plane(target, database, certificate))
        second = until.enter_context(control_plane(target, database, certificate))
        balancer = until.enter_context(Balancer([first.address, second.address]))
        receiver = until.enter_context(Receiver())
        client = until.enter_context(Client(balancer.url, API_KEY, verify=authority.ca_file))
        for name, ports in (("a", "20001-20400"), ("b", "30001-30400")):
            made = client.nodes.add(name)
            agents.append(SimulatedAgent(balancer.url, fingerprint_of(Path(certificate[0])), ports))
            agents[-1].join(made.join_token)
            until.callback(agents[-1].stop)
        client.webhooks.create(receiver.url)

        def all_up() -> bool:
            return all(node.state == "up" and node.names_ready for node in client.nodes.list() if node.name != "local")

        assert wait_until(all_up)
        yield Deployment((first, second), client, receiver, lambda: set().union(*(one.ids() for one in agents)))
        for service in (first, second):
            assert "Traceback" not in service.log()
        assert [one for agent in agents for one in agent.surprises] == []


def test_a_key_is_the_same_at_both(deployment: Deployment) -> None:
    """What one has made the other one knows at once; both show the same nodes."""
    first, second = deployment.planes
    made = first.client.post("/api/keys", json={"name": "x"}).raise_for_status().json()
    assert second.client.get(f"/api/keys/{made['id']}").json()["port"] == made["port"]
    assert second.client.delete(f"/api/keys/{made['id']}").status_code == 200
    assert first.client.get(f"/api/keys/{made['id']}").status_code == 404
    shown = [
        [(node["name"], node["state"]) for node in one.client.get("/api/nodes").json()] for one in deployment.planes
    ]
    assert shown[0] == shown[1] == [("local", "drained"), ("a", "up"), ("b", "up")]


def test_an_order_goes_on_when_its_server_has_died(deployment: Deployment, agents: list[SimulatedAgent]) -> None:
    """Its first try is taken back, also while no server lives for longer than twenty seconds."""
    first, client = deployment.planes[0], deployment.client
    _begin_order(first, agents)
    first.start()
    is_made = threading.Event()

    def order() -> None:
        while not is_made.is_set():
            with suppress(ApiError):
                client.keys.create("ordered", idempotency_key="an order")
                is_made.set()

    threading.Thread(target=order, daemon=True).start()
    began = time.monotonic()
    for number in range(1, DEATHS):
        if is_made.wait(began + number * EVERY_S - time.monotonic()):
            break
        plane = deployment.planes[number % 2]
        plane.kill()
        plane.start()
    assert is_made.is_set()
    (key,) = client.keys.list()
    assert key.name == "ordered"
    client.keys.delete(key.id)


def _begin_order(plane: Service, agents: list[SimulatedAgent]) -> None:
    """Ask a control plane for a key that no node confirms, and kill it meanwhile; then the nodes go on."""
    url = plane.env["VPNKEYS_DATABASE_URL"]
    for agent in agents:
        agent.works.clear()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            plane.client.post, "/api/keys", json={"name": "ordered"}, headers={"Idempotency-Key": "an order"}
        )
        assert wait_until(lambda: bool(rows_of(url, "SELECT key_id FROM placements")))
        plane.kill()
        assert isinstance(asked.exception(), httpx.TransportError)
    for agent in agents:
        agent.works.set()


def test_nothing_is_lost_when_control_planes_die(deployment: Deployment) -> None:
    """Each of them once."""
    lose_nothing(deployment, 2)
