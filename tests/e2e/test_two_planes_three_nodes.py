"""Two control planes on one PostgreSQL, and three real nodes whose customers notice nothing when either dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.support.certificates import Authority
from tests.support.machines import MIDDLE, can_make_machines
from tests.support.many_nodes import Fleet, start_all, surroundings
from tests.support.orders import Deployment, lose_nothing
from tests.support.planes import API_KEY, Balancer, control_plane
from tests.support.postgres import Cluster
from tests.support.receiver import Receiver
from tests.support.rows import rows_of
from tests.support.streams import PingPong

from vpnkeys.client import Client

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.soak,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not can_make_machines(), reason="needs root, ip, nft and nsenter"),
]

DEATHS, EVERY_S = 30, 10.0
SIZE = 1_000_000


@pytest.fixture
def deployed(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, Fleet]]:
    """All of them, the nodes up."""
    directory = tmp_path_factory.mktemp("fleet")
    authority, database = Authority(directory), postgres.empty_database()
    certificate = authority.issue([MIDDLE, "127.0.0.1"])
    with ExitStack() as stack:
        around = stack.enter_context(surroundings(3))
        first, second = (control_plane(around.target, database, certificate) for _ in range(2))
        balancer = stack.enter_context(Balancer([first.address, second.address], MIDDLE))
        for plane in (first, second):
            plane.env["VPNKEYS_PUBLIC_URL"] = balancer.url
            stack.enter_context(plane)
        nodes = around.nodes(stack, directory, first)
        for node in nodes:
            node.env["SSL_CERT_FILE"] = str(authority.ca_file)
        start_all(nodes)
        receiver = stack.enter_context(Receiver())
        client = stack.enter_context(Client(balancer.url, API_KEY, verify=authority.ca_file))
        client.webhooks.create(receiver.url)

        def placed() -> set[str]:
            return {str(one) for node in nodes for (one,) in rows_of(node.database, "SELECT id FROM keys")}

        yield Deployment((first, second), client, receiver, placed), Fleet(first, nodes, around.bytes, around.echo)
        for service in (first, second, *nodes):
            assert "Traceback" not in service.log()


def test_customers_notice_nothing_when_control_planes_die(deployed: tuple[Deployment, Fleet]) -> None:
    """Either one, every ten seconds for five minutes, while a bot makes and deletes keys: nothing of it is lost."""
    deployment, fleet = deployed
    used, beating = ([fleet.make(node) for node in fleet.nodes] for _ in range(2))
    others = frozenset(str(key["id"]) for key in (*used, *beating))
    with fleet.client(*used) as customers, fleet.client(*beating) as listeners, ExitStack() as stack:
        beats = [stack.enter_context(PingPong(fleet.echo.open(proxy))) for proxy in listeners.proxies]
        before = [fleet.send(proxy, SIZE) for proxy in customers.proxies]
        lose_nothing(deployment, DEATHS, EVERY_S, others)
        assert [beat.broken for beat in beats] == [None] * len(beats)
        after = [fleet.send(proxy, SIZE) for proxy in customers.proxies]
    for node, key, *sent in zip(fleet.nodes, used, before, after, strict=True):
        fleet.wait_counted(node, key, sum(sent), len(sent))
