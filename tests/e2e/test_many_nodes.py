"""Three nodes on machines of their own, and one API: keys on each carry, are counted, limited and stopped."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ssl
from collections.abc import Iterator

import pytest
from tests.support.clients import SingBoxClient
from tests.support.keys import Key, carries, delete_key, link_of, list_keys
from tests.support.link import VlessLink
from tests.support.machines import can_make_machines
from tests.support.many_nodes import Fleet, running_fleet
from tests.support.process import wait_until
from tests.support.streams import PingPong

from vpnkeys.client import Client

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not can_make_machines(), reason="needs root, ip, nft and nsenter"),
]

SIZE = 300_000
QUOTA = 1_000_000


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The control plane, and three nodes that are up."""
    with running_fleet(tmp_path_factory.mktemp("fleet"), 3, prompt=True) as (fleet, _):
        yield fleet


@pytest.fixture
def keys(fleet: Fleet) -> Iterator[list[Key]]:
    """A key on each node."""
    made = [fleet.make(node) for node in fleet.nodes]
    yield made
    for key in made:
        fleet.plane.client.delete(f"/api/keys/{key['id']}")


def refused(proxy: tuple[str, int], fleet: Fleet) -> bool:
    """Whether nothing gets through."""
    return not carries(proxy, fleet.bytes, timeout=3.0)


def test_each_node_carries_and_each_byte_is_counted_once(fleet: Fleet, keys: list[Key]) -> None:
    """By the node and by the control plane alike; each key's link leads to its own node, and has its key pair."""
    links = [link_of(fleet.plane, key) for key in keys]
    assert [link.host for link in links] == [node.machine.address for node in fleet.nodes]
    assert len({link.public_key for link in links}) == len(keys)
    with SingBoxClient.many(links) as client:
        sent = [fleet.send(proxy, SIZE * number) for number, proxy in enumerate(client.proxies, 1)]
    for node, key, size in zip(fleet.nodes, keys, sent, strict=True):
        fleet.wait_counted(node, key, size)


def test_what_is_done_to_one_is_done_to_nobody_else(fleet: Fleet, keys: list[Key]) -> None:
    """One is deleted, one switched off and on, one rotated: each in force when it is answered; a neighbour beats on."""
    api, neighbours = fleet.plane.client, [fleet.make(node) for node in fleet.nodes]
    with fleet.client(*neighbours, *keys) as client:
        beats = [PingPong(fleet.echo.open(proxy)) for proxy in client.proxies[:3]]
        deleted, switched, rotated = client.proxies[3:]
        assert all(carries(proxy, fleet.bytes) for proxy in client.proxies)
        with beats[0], beats[1], beats[2]:
            delete_key(fleet.plane, keys[0])
            assert refused(deleted, fleet)
            for is_active in (False, True):
                api.patch(f"/api/keys/{keys[1]['id']}", json={"is_active": is_active}).raise_for_status()
                assert carries(switched, fleet.bytes, timeout=3.0) is is_active
            api.post(f"/api/keys/{keys[2]['id']}/rotate", json={"uuid": True}).raise_for_status()
            assert refused(rotated, fleet)
        assert [beat.broken for beat in beats] == [None, None, None]
    for key in neighbours:
        delete_key(fleet.plane, key)


def test_limits_strike_on_each_node(fleet: Fleet) -> None:
    """A key whose traffic is used up and one whose time is over stop; the control plane says so; more lets both in."""
    api, node = fleet.plane.client, fleet.nodes[0]
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=8)).strftime("%Y-%m-%dT%H:%M:%SZ")
    quota, timed = fleet.make(node, traffic_limit_bytes=QUOTA), fleet.make(fleet.nodes[1], expires_at=soon)

    def state(key: Key) -> str:
        return str(api.get(f"/api/keys/{key['id']}").raise_for_status().json()["status"])

    with fleet.client(quota, timed) as client:
        fleet.send(client.proxies[0], QUOTA // 2 + 1_000)
        assert wait_until(lambda: refused(client.proxies[0], fleet)), node.log()
        assert wait_until(lambda: refused(client.proxies[1], fleet)), fleet.nodes[1].log()
        assert wait_until(lambda: (state(quota), state(timed)) == ("limited", "expired"))
        api.patch(f"/api/keys/{quota['id']}", json={"traffic_limit_bytes": 10 * QUOTA}).raise_for_status()
        api.patch(f"/api/keys/{timed['id']}", json={"expires_at": None}).raise_for_status()
        assert all(carries(proxy, fleet.bytes) for proxy in client.proxies)
    assert wait_until(lambda: fleet.counted(quota) == node.counted_here(quota))
    for key in (quota, timed):
        delete_key(fleet.plane, key)


def test_a_drained_node_keeps_its_keys_and_gets_no_more(fleet: Fleet, keys: list[Key]) -> None:
    """Until it is up again."""
    api, node = fleet.plane.client, fleet.nodes[2]
    api.patch(f"/api/nodes/{node.name}", json={"state": "drained"}).raise_for_status()
    answer = api.post("/api/keys", json={"name": "more", "node": node.name})
    assert answer.status_code == 503, answer.text
    with fleet.client(keys[2]) as client:
        assert carries(client.socks, fleet.bytes)
        delete_key(fleet.plane, keys[2])
        assert refused(client.socks, fleet)
    api.patch(f"/api/nodes/{node.name}", json={"state": "up"}).raise_for_status()
    delete_key(fleet.plane, fleet.make(node))


def test_a_subscription_leads_to_all_nodes(fleet: Fleet, keys: list[Key]) -> None:
    """Its list has a link to each, and each carries; what was deleted is in it no more."""
    made = fleet.plane.client.post("/api/subscriptions", json={"keys": [key["id"] for key in keys]})
    url = str(made.raise_for_status().json()["url"])

    def links() -> list[VlessLink]:
        with fleet.plane.new_client(api_key="") as customer:
            answer = customer.get(url, headers={"User-Agent": "v2rayN/7.0"}).raise_for_status()
        return [VlessLink.parse(line) for line in base64.b64decode(answer.content).decode().splitlines()]

    found = links()
    assert {link.host for link in found} == {node.machine.address for node in fleet.nodes}
    with SingBoxClient.many(found) as client:
        assert all(carries(proxy, fleet.bytes) for proxy in client.proxies)
    delete_key(fleet.plane, keys[1])
    assert {link.host for link in links()} == {fleet.nodes[number].machine.address for number in (0, 2)}


def test_a_client_that_knows_nothing_of_nodes_notices_nothing(fleet: Fleet) -> None:
    """Keys go to all of them by room, and are listed, shown, changed, counted and deleted as ever."""
    pem = ssl.PEM_cert_to_DER_cert((fleet.plane.data_dir / "tls" / "cert.pem").read_text())
    pin = hashlib.sha256(pem).hexdigest()
    with Client(fleet.plane.base_url, fleet.plane.api_key, fingerprint=pin) as bot:
        made = [bot.keys.create(f"bot-{number}") for number in range(8)]
        listed = {key.id: key for key in bot.keys.list()}
        places = {key.node for key in made}
        assert len(places) > 1, places
        links = [VlessLink.parse(bot.keys.config(key.id).vless_url) for key in made]
        with SingBoxClient.many(links) as client:
            assert all(carries(proxy, fleet.bytes) for proxy in client.proxies)
            for key, proxy in zip(made, client.proxies, strict=True):
                assert listed[key.id].port == key.port
                assert not bot.keys.change(key.id, is_active=False).is_active
                assert refused(proxy, fleet)
                bot.keys.delete(key.id)
        assert not {key.id for key in made} & {key.id for key in bot.keys.list()}
    assert wait_until(lambda: all(node.seen()["keys"] == 0 for node in fleet.nodes)), list_keys(fleet.plane)
