"""Two control planes on one PostgreSQL, behind a balancer: either may die at any moment, and nothing is lost."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest
from tests.support.certificates import Authority
from tests.support.planes import API_KEY, Balancer, SimulatedAgent, control_plane, fingerprint_of
from tests.support.postgres import Cluster
from tests.support.process import wait_until
from tests.support.receiver import Receiver
from tests.support.service import Service
from tests.support.target import RealityTarget

from vpnkeys.client import ApiError, Client, NotFound

pytestmark = pytest.mark.e2e

T = TypeVar("T")

WORKERS = 3


@dataclass
class Fleet:
    """All of it, and a client that knows the balancer alone."""

    planes: tuple[Service, Service]
    agents: dict[str, SimulatedAgent]
    receiver: Receiver
    client: Client
    url: str


@pytest.fixture(scope="module")
def fleet(target: RealityTarget, postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
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
        agents = {}
        for name, ports in (("a", "20001-20400"), ("b", "30001-30400")):
            made = client.nodes.add(name)
            agents[name] = SimulatedAgent(balancer.url, fingerprint_of(Path(certificate[0])), ports)
            agents[name].join(made.join_token)
            until.callback(agents[name].stop)
        client.webhooks.create(receiver.url)

        def all_up() -> bool:
            return all(node.state == "up" and node.names_ready for node in client.nodes.list() if node.name != "local")

        assert wait_until(all_up)
        yield Fleet((first, second), agents, receiver, client, balancer.url)
        for service in (first, second):
            assert "Traceback" not in service.log()
        assert [one for agent in agents.values() for one in agent.surprises] == []


@dataclass
class Orders:
    """What a bot has asked for and been told, over and over until there is an answer."""

    fleet: Fleet
    numbers: Iterator[int] = field(default_factory=count)
    made: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    has_ended: threading.Event = field(default_factory=threading.Event)
    surprises: list[Exception] = field(default_factory=list)

    def work(self) -> None:
        """Make keys, and delete every second one."""
        try:
            while not self.has_ended.is_set():
                self._order(next(self.numbers))
        except Exception as error:  # noqa: BLE001 - shown by the test
            self.surprises.append(error)

    def _order(self, number: int) -> None:
        client, name = self.fleet.client, f"order-{time.monotonic_ns()}-{number}"
        key = self._until_answered(lambda: client.keys.create(name, idempotency_key=name))
        self.made[name] = key.id
        if number % 2:
            with suppress(NotFound):  # deleted, and the answer was lost
                self._until_answered(lambda: client.keys.delete(key.id))
            self.deleted.add(key.id)

    @staticmethod
    def _until_answered(ask: Callable[[], T]) -> T:
        ends_at = time.monotonic() + 120
        while True:
            try:
                return ask()
            except NotFound:
                raise
            except ApiError:
                if time.monotonic() > ends_at:
                    raise
            time.sleep(0.1)


def lose_nothing(fleet: Fleet, deaths: int) -> None:
    """Make and delete keys while the control planes die in turn; then compare all that was said with all that is."""
    orders = Orders(fleet)
    workers = [threading.Thread(target=orders.work, daemon=True) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for number in range(deaths):
        before = len(orders.made)
        plane = fleet.planes[number % 2]
        plane.kill()
        assert wait_until(lambda before=before: len(orders.made) > before + 2), orders.surprises  # type: ignore[misc]
        plane.start()
    orders.has_ended.set()
    for worker in workers:
        worker.join(150)
    assert orders.surprises == []
    left = {*orders.made.values()} - orders.deleted
    assert len({*orders.made.values()}) == len(orders.made), "each order has a key of its own"
    for plane in fleet.planes:
        plane.reconnect()
        assert {one["id"] for one in plane.client.get("/api/keys").json()} == left
    assert wait_until(lambda: set().union(*(agent.ids() for agent in fleet.agents.values())) == left)
    _require_told(fleet, "key.created", {*orders.made.values()})
    _require_told(fleet, "key.deleted", orders.deleted)


def _require_told(fleet: Fleet, kind: str, ids: set[str]) -> None:
    """Every one of these keys was told of, by one event each, however often that came."""

    def told() -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for request in list(fleet.receiver.requests):
            if request.event == kind:
                found[str(request.json["data"]["id"])].add(str(request.json["id"]))
        return found

    assert wait_until(lambda: told().keys() >= ids), ids - told().keys()
    assert {len(events) for events in told().values()} <= {1}


def test_a_key_is_the_same_at_both(fleet: Fleet) -> None:
    """What one has made the other one knows at once; both show the same nodes."""
    first, second = fleet.planes
    made = first.client.post("/api/keys", json={"name": "x"}).raise_for_status().json()
    assert second.client.get(f"/api/keys/{made['id']}").json()["port"] == made["port"]
    assert second.client.delete(f"/api/keys/{made['id']}").status_code == 200
    assert first.client.get(f"/api/keys/{made['id']}").status_code == 404
    shown = [[(node["name"], node["state"]) for node in one.client.get("/api/nodes").json()] for one in fleet.planes]
    assert shown[0] == shown[1] == [("local", "drained"), ("a", "up"), ("b", "up")]


def test_nothing_is_lost_when_control_planes_die(fleet: Fleet) -> None:
    """Each of them once."""
    lose_nothing(fleet, 2)


@pytest.mark.soak
def test_nothing_is_lost_when_control_planes_die_again_and_again(fleet: Fleet) -> None:
    """For some minutes."""
    lose_nothing(fleet, 30)
