"""Nodes elsewhere over HTTP: how they are made, join, follow and report, and what none of them can do."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.target import RealityTarget

from vpnkeys.client import Client, NotFound, Rejected, Unauthorized
from vpnkeys.client.agent import ControlPlane
from vpnkeys.wire.agents import MOST_KEYS, Desired, JoinRequest, Life, Report

pytestmark = pytest.mark.e2e

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A control plane of this module's own."""
    with Service(target, settings={"VPNKEYS_RATE_LIMITS": "guess=1000/minute"}) as service:
        service.wait_ready()
        yield service


def join(service: Service, name: str, **fields: object) -> tuple[Answer, ControlPlane, str]:
    """A node that was made and joined: how it was made, what its agent asks, and the agent's token."""
    made = service.client.post("/api/nodes", json={"name": name, **fields}).raise_for_status().json()
    *_, fingerprint = made["join_command"].split()
    asking = JoinRequest(
        token=made["join_token"], public_key="K" * 43, address="198.51.100.7", port_range="20001-20003"
    )
    plane = ControlPlane(service.base_url, made["join_token"], fingerprint)
    joined = plane.join(asking)
    assert joined.node == name
    with pytest.raises(Unauthorized):
        plane.join(asking)
    plane.close()
    return made, ControlPlane(service.base_url, joined.token, fingerprint), joined.token


def report(applied: Desired | None = None, lives: tuple[Life, ...] = (), online: Answer | None = None) -> Report:
    """A report of an agent whose names work."""
    return Report(
        rev="" if applied is None else applied.rev,
        now=datetime.now(UTC).replace(tzinfo=None),
        lives=lives,
        names=("a.example",),
        version="9",
        xray_version="8",
        online=online or {},
    )


def wanted(plane: ControlPlane, rev: str = "") -> Desired:
    """What an agent should have, which is not `rev` any more."""
    found = plane.desired(rev)
    assert found is not None
    return found


def shown(service: Service, name: str) -> Answer:
    """How a node is shown."""
    return dict(service.client.get(f"/api/nodes/{name}").raise_for_status().json())


def test_a_node_is_made_joins_and_is_up(service: Service) -> None:
    """What the operator has not said, the agent does; the command is complete, and its token is shown once."""
    made, plane, _ = join(service, "one", weight=3)
    node = made["node"]
    assert (node["state"], node["weight"], node["port_range"], node["seen_at"]) == ("joining", 3, None, None)
    assert made["join_command"].startswith(f"vpnkeys agent join {service.base_url} --token {made['join_token']} ")
    found = shown(service, "one")
    assert (found["state"], found["address"], found["port_range"]) == ("silent", "198.51.100.7", "20001-20003")
    first = wanted(plane)
    assert first.keys == ()
    assert plane.report(report(first)).rev == first.rev
    found = shown(service, "one")
    assert (found["state"], found["names_ready"], found["version"], found["xray_version"]) == ("up", 1, "9", "8")
    assert found["applied"] == found["desired"]
    assert made["join_token"] not in service.log()
    assert made["join_token"] not in service.client.get("/api/audit").text
    plane.close()


def test_a_report_may_name_ten_thousand_keys(service: Service) -> None:
    """So many may be online on a large node; a text that only begins as a token is refused like any other."""
    _, plane, _ = join(service, "large")
    plane.report(report(wanted(plane), online={str(uuid4()): 1 for _ in range(MOST_KEYS)}))
    assert shown(service, "large")["state"] == "up"
    plane.close()
    odd = {"X-API-Key": f"vpnk_node{'1' * 5000}_x"}
    assert service.client.get("/agent/desired", headers=odd).status_code == 401


def test_a_key_is_wanted_then_confirmed_then_there(service: Service) -> None:
    """A waiting agent hears of it at once; until it has confirmed, nobody sees the key; its counters are the key's."""
    _, plane, _ = join(service, "two")
    start = wanted(plane)
    plane.report(report(start))
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(wanted, plane, start.rev)
        making = pool.submit(service.client.post, "/api/keys", json={"name": "secret name", "node": "two"})
        desired = waiting.result(timeout=10)
        (key,) = desired.keys
        assert key.id not in service.client.get("/api/keys").text
        plane.report(report(desired))
        made = making.result(timeout=10).raise_for_status().json()
    assert (made["id"], made["node"], made["port"], made["sni"]) == (key.id, "two", 20001, "a.example")
    assert "secret name" not in desired.model_dump_json()
    link = service.client.get(f"/api/keys/{key.id}/link").json()["vless_link"]
    assert "@198.51.100.7:20001?" in link
    assert f"pbk={'K' * 43}&" in link
    now = datetime.now(UTC).replace(tzinfo=None)
    plane.report(
        report(desired, (Life(epoch="x", sampled_at=now, usage={key.account: (10, 20)}),), online={key.account: 2})
    )
    traffic = service.client.get(f"/api/keys/{key.id}/traffic").json()
    assert traffic["total_bytes"] == 30
    assert service.client.get(f"/api/keys/{key.id}/online").json()["devices"] == 2
    for path in ("test", "traffic/reset"):
        refused = service.client.post(f"/api/keys/{key.id}/{path}")
        assert (refused.status_code, refused.json()["code"]) == (400, "key_elsewhere")
    refused = service.client.get("/api/system/ports?node=two")
    assert (refused.status_code, refused.json()["code"]) == (400, "key_elsewhere")
    busy = service.client.delete("/api/nodes/two")
    assert (busy.status_code, busy.json()["code"]) == (400, "node_not_empty")
    plane.close()


def test_a_token_opens_its_own_node_and_nothing_else(service: Service) -> None:
    """Not the API; no API key is an agent's; what it says of other nodes' keys is refused and recorded."""
    _, plane, token = join(service, "three")
    made = service.client.post("/api/keys", json={"name": "local", "node": "local"}).raise_for_status().json()
    desired = wanted(plane)
    assert made["id"] not in desired.model_dump_json()
    now = datetime.now(UTC).replace(tzinfo=None)
    lie = Life(epoch="x", sampled_at=now, usage={made["uuid"]: (10**9, 10**9)})
    with pytest.raises(Rejected, match="other nodes"):
        plane.report(report(desired, (lie,)))
    assert service.client.get(f"/api/keys/{made['id']}/traffic").json()["total_bytes"] == 0
    (entry,) = service.client.get("/api/audit?action=node.reported").json()
    assert (entry["outcome"], entry["actor"]) == ("failed", "node three")
    for client, status in ((service.new_client(token), 401), (service.new_client("vpnk_node999_x"), 401)):
        with client:
            assert client.get("/api/keys").status_code == status
            assert client.get("/api/nodes").status_code == status
    for method, path in (("GET", "/agent/desired"), ("POST", "/agent/report")):
        assert service.client.request(method, path, json=report().model_dump(mode="json")).status_code == 401
    plane.close()


def test_unknown_fields_are_ignored_and_wrong_ones_refused(service: Service) -> None:
    """An agent of a later version works; nothing that cannot be is stored."""
    _, plane, token = join(service, "four")
    said = report(wanted(plane)).model_dump(mode="json")
    with service.new_client(token) as agent:
        assert agent.post("/agent/report", json={**said, "load": [1, 2], "nam": 3}).status_code == 200
        life = {"epoch": "x", "sampled_at": said["now"], "usage": {"u": [-1, 0]}}
        wrong: list[Answer] = [{"now": "yesterday"}, {"lives": [life]}, {"lives": {}}, {"names": "a"}]
        for one in wrong:
            assert agent.post("/agent/report", json={**said, **one}).status_code == 400, one
    plane.close()


def test_a_node_is_changed_and_removed(service: Service) -> None:
    """By both clients' methods; the built-in one stays what it is."""
    with Client.over(service.new_client()) as client:
        made = client.nodes.add("five", group="eu", max_keys=3, port_range="20001-20009")
        assert (made.node.name, made.node.group, made.node.port_range) == ("five", "eu", "20001-20009")
        changed = client.nodes.change("five", name="six", weight=0, max_keys=None, address="vpn.example")
        assert (changed.name, changed.weight, changed.max_keys, changed.address) == ("six", 0, None, "vpn.example")
        with pytest.raises(NotFound):
            client.nodes.change("five", weight=1)
        for wrong in ({"name": "local"}, {"name": "12"}, {"name": "a b"}, {"address": "a b"}, {"state": "drained"}):
            with pytest.raises(Rejected):
                client.nodes.change("six", **wrong)  # type: ignore[arg-type]
        with pytest.raises(Rejected, match="another node"):
            client.nodes.add("six")
        assert "six" in client.nodes.remove("six").message
        with pytest.raises(NotFound):
            client.nodes.get("six")
        with pytest.raises(Rejected):
            client.nodes.remove("local")
        for wrong in ({"name": "main"}, {"address": "vpn.example"}, {"state": "lost"}):
            with pytest.raises(Rejected):
                client.nodes.change("local", **wrong)  # type: ignore[arg-type]
        assert client.nodes.change("local", weight=2).weight == 2
    actions = [entry["action"] for entry in service.client.get("/api/audit?limit=50").json()]
    assert {"node.created", "node.changed", "node.removed", "node.joined"} <= {*actions}


def test_an_agent_that_waits_does_not_delay_the_end(service: Service) -> None:
    """It is answered, and asks again when the server is back."""
    _, plane, _ = join(service, "seven")
    rev = wanted(plane).rev
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(plane.desired, rev)
        assert not wait_until(waiting.done, 0.5)
        assert service.stop() == 0
        assert waiting.result(timeout=5) is None
    service.start()
    again = plane.desired("")
    assert again is not None
    assert again.rev == rev, "a restart of the control plane changes nothing for a node"
    plane.close()
