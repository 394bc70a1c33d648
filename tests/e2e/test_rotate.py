"""A key gets a new link: the old one is out at once, and all that the customer has paid for stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.agreement import agreement
from tests.support.clients import SingBoxClient
from tests.support.counting import total_bytes, wire_bytes
from tests.support.keys import Key, carries, lasting, link_of, make_key
from tests.support.link import VlessLink
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.streams import ByteServer, Echo, PingPong, ended_within, open_idle, transfer
from tests.support.target import RealityTarget

from vpnkeys.xray.host.sockets import can_cut

pytestmark = pytest.mark.e2e

NAMES = ("one.example.com", "two.example.com")
UUID, SHORT_ID, SNI = {"uuid": True}, {"short_id": True}, {"sni": True}
STAYS = ("id", "name", "port", "created_at", "expires_at", "traffic_limit_bytes", "max_devices", "note")
KB = 1000
A_CONNECTION_ADDS = 2 * KB
ENDED_WITHIN_S = 1.0


@pytest.fixture(scope="module")
def service(byte_server: ByteServer, echo: Echo) -> Iterator[Service]:
    """A service with two names."""
    rules = [byte_server.egress_rule, echo.egress_rule]
    with RealityTarget(NAMES, close_idle_s=0.1) as target, Service(target, egress_allow=rules) as service:
        service.wait_ready()
        yield service
        assert agreement(service) == []
        assert "Traceback" not in service.log()


@pytest.fixture
def key(service: Service) -> Iterator[Key]:
    """A key with limits."""
    made = make_key(service)
    limits = {"expires_at": "2031-01-01T00:00:00", "traffic_limit_bytes": 10**12, "max_devices": 5, "note": "paid"}
    yield service.client.patch(f"/api/keys/{made['id']}", json=limits).raise_for_status().json()
    service.client.delete(f"/api/keys/{made['id']}").raise_for_status()


def rotate(service: Service, key: Key, body: dict[str, bool]) -> dict[str, Any]:
    """Ask for it; the answer."""
    answer: dict[str, Any] = service.client.post(f"/api/keys/{key['id']}/rotate", json=body).raise_for_status().json()
    return answer


@pytest.mark.parametrize("body", [UUID, SHORT_ID, SNI, UUID | SHORT_ID | SNI], ids=["uuid", "short_id", "sni", "all"])
def test_the_new_link_is_in_and_the_old_one_out(
    service: Service, key: Key, byte_server: ByteServer, echo: Echo, body: dict[str, bool]
) -> None:
    """Right after the answer; what was open by the old link ends, and the rest of the key stays."""
    with (
        SingBoxClient(link_of(service, key)) as client,
        PingPong(echo.open(client.socks)) as pings,
        open_idle(echo.open(client.socks)) as idle,
    ):
        answer = rotate(service, key, body)
        assert not can_cut() or pings.wait_broken(ENDED_WITHIN_S * slowness())
        assert not can_cut() or ended_within(idle, ENDED_WITHIN_S * slowness())
        now = answer["key"]
        assert {name for name in ("uuid", "short_id", "sni") if now[name] != key[name]} == set(body)
        assert [now[name] for name in STAYS] == [key[name] for name in STAYS]
        assert lasting(now) == lasting(service.client.get(f"/api/keys/{key['id']}").json())
        assert now["sni"] in NAMES
        new = VlessLink.parse(answer["vless_url"])
        assert new == link_of(service, key)
        with SingBoxClient(new) as other:
            assert carries(other.socks, byte_server)
        assert not carries(client.socks, byte_server, timeout=3.0)
    found = service.client.get(f"/api/keys/{now['uuid']}")
    assert (found.status_code, found.json()["id"]) == (200, key["id"])
    assert agreement(service) == []


def test_no_byte_is_lost(service: Service, key: Key, byte_server: ByteServer) -> None:
    """What passed by the old link right before, by the new one, and after another UUID, is all in one total."""
    payload, times = 0, 3
    for _ in range(times):
        with (
            SingBoxClient(link_of(service, key)) as client,
            byte_server.open(client.socks, timeout=60.0) as sock,
        ):
            transfer(sock, 200 * KB, 300 * KB)
            payload += wire_bytes(sock)
        key = rotate(service, key, UUID)["key"]
    spare = times * A_CONNECTION_ADDS
    assert wait_until(lambda: total_bytes(service, key) >= payload - spare)
    assert total_bytes(service, key) <= payload * 1.001 + spare
    history = service.client.get(f"/api/keys/{key['id']}/traffic/history").json()
    assert sum(point["up_bytes"] + point["down_bytes"] for point in history["points"]) == total_bytes(service, key)
    for limit, status in ((KB, "limited"), (10**12, "active")):
        limited = service.client.patch(f"/api/keys/{key['id']}", json={"traffic_limit_bytes": limit}).json()
        assert limited["status"] == status, "what was used by the old links counts"
    before = total_bytes(service, key)
    service.stop()
    service.start()
    service.wait_ready()
    assert total_bytes(service, key) == before
    with SingBoxClient(link_of(service, key)) as client:
        assert carries(client.socks, byte_server)
    assert service.client.post(f"/api/keys/{key['id']}/traffic/reset").status_code == 200
    assert total_bytes(service, key) == 0


def test_what_is_no_request_is_refused(service: Service, key: Key) -> None:
    """Nothing to renew, words that are none, a key that is none: and nothing is changed."""
    path = f"/api/keys/{key['id']}/rotate"
    for body in ({}, {"uuid": False, "sni": False}):
        refused = service.client.post(path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (400, "nothing_to_rotate")
        assert "uuid, short_id and sni" in refused.json()["detail"]
    for bad in ({"uuid": "yes"}, {"sni": 1}, {"port": True}):
        assert service.client.post(path, json=bad).status_code == 400
    assert service.client.post("/api/keys/nobody/rotate", json=UUID).status_code == 404
    assert service.client.get(f"/api/keys/{key['id']}").json() == key


def test_it_is_told_without_secrets(service: Service, key: Key) -> None:
    """The audit log says what is new, and no value that grants access."""
    now = rotate(service, key, UUID | SHORT_ID | SNI)["key"]
    record = service.client.get("/api/audit", params={"limit": 1}).json()[0]
    assert (record["action"], record["subject"]) == ("key.changed", key["id"])
    assert record["before"] == {"sni": key["sni"]}
    assert record["after"] == {"sni": now["sni"], "renewed": ["uuid", "short_id"]}


def test_a_key_that_is_off_gets_a_new_link_for_later(service: Service, key: Key, byte_server: ByteServer) -> None:
    """It does not start by that, and the new link works once it is on."""
    service.client.patch(f"/api/keys/{key['id']}", json={"is_active": False}).raise_for_status()
    new = VlessLink.parse(rotate(service, key, UUID | SHORT_ID)["vless_url"])
    with SingBoxClient(new) as client:
        assert not carries(client.socks, byte_server, timeout=3.0)
        service.client.patch(f"/api/keys/{key['id']}", json={"is_active": True}).raise_for_status()
        assert carries(client.socks, byte_server)


def test_the_command(service: Service, key: Key) -> None:
    """It prints the new link; without an option it says which there are."""
    done = service.cli("keys", "rotate", key["id"], "--uuid", "--yes")
    assert done.returncode == 0, done.stderr
    assert str(service.client.get(f"/api/keys/{key['id']}/config").json()["vless_url"]) in done.stdout
    refused = service.cli("keys", "rotate", key["id"])
    assert refused.returncode != 0
    assert "--uuid" in refused.stderr


def test_a_dead_name(byte_server: ByteServer) -> None:
    """While the only other name does not work either, the key keeps its link, and the answer says what to do."""
    with (
        RealityTarget(NAMES, certificate_names=[NAMES[0]], close_idle_s=0.1) as target,
        Service(target, egress_allow=[byte_server.egress_rule]) as service,
    ):
        key = make_key(service)
        refused = service.client.post(f"/api/keys/{key['id']}/rotate", json=SNI)
        assert (refused.status_code, refused.json()["code"]) == (503, "targets_unready")
        assert "vpnkeys system targets" in refused.json()["detail"]
        target.stop()
        refused = service.client.post(f"/api/keys/{key['id']}/rotate", json=UUID)
        assert (refused.status_code, refused.json()["code"]) == (503, "targets_unready")
        assert "sni" in refused.json()["detail"]
        target.start()
        service.child.wait_for(
            lambda: service.client.post(f"/api/keys/{key['id']}/rotate", json=UUID).status_code == 200, "a new link"
        )
        with SingBoxClient(link_of(service, key)) as client:
            assert carries(client.socks, byte_server)
