"""Nodes over HTTP: the built-in one is there, says how it follows the database, and a bot of 2.3.4 notices nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.doctor import quick
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.simulated import simulated_agent
from tests.support.target import RealityTarget

from vpnkeys import __version__
from vpnkeys.client import AsyncClient, Client, NotFound, Rejected
from vpnkeys.settings import admin_socket

pytestmark = pytest.mark.e2e

FIELDS = {
    "id", "name", "group", "address", "state", "port_range", "max_keys", "weight", "keys", "seen_at", "applied",
    "desired", "lag_s", "version", "xray_version", "names_ready", "public_key", "places", "traffic_bytes", "failed",
    "cpu_share", "clock_ahead_s",
}  # fmt: skip
LOOKING = (
    "overview", "plan", "ports/plan", "targets", "config-status", "ports", "ports/status", "xray/config-status",
    "xray/inbounds", "xray/validate-sync",
)  # fmt: skip
REPAIRING = ("sync-config", "verify-reality", "ports/reset", "xray/sync-config", "fix-reality-keys")


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service of this module's own."""
    with Service(target, settings={"VPNKEYS_RATE_LIMITS": "off"}) as service:
        service.wait_ready()
        yield service


def local(service: Service) -> dict[str, Any]:
    """The built-in node."""
    (found,) = service.client.get("/api/nodes").raise_for_status().json()
    assert found.keys() == FIELDS
    return dict(found)


def make(service: Service, **fields: object) -> dict[str, Any]:
    """A key."""
    answer = service.client.post("/api/keys", json={"name": "a", **fields})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_the_built_in_node_says_what_is_true(service: Service) -> None:
    """Each value is what the rest of the API says too."""
    key = make(service)
    found = local(service)
    for named in ("1", "local"):
        one = service.client.get(f"/api/nodes/{named}").raise_for_status().json()
        assert {**one, "seen_at": found["seen_at"], "cpu_share": found["cpu_share"]} == found
    overview = service.client.get("/api/system/overview").json()
    config = service.client.get(f"/api/keys/{key['id']}/config").json()["vless_url"]
    assert (found["id"], found["name"], found["group"], found["state"]) == (1, "local", "default", "up")
    assert (found["weight"], found["max_keys"]) == (1, None)
    assert found["keys"] == len(service.client.get("/api/keys").json())
    assert (found["places"], found["failed"], found["clock_ahead_s"]) == (len(service.ports), {}, 0.0)
    assert found["port_range"] == service.client.get("/api/system/ports").json()["port_range"]
    assert found["address"] == overview["server_address"]
    assert (found["version"], found["xray_version"]) == (__version__, overview["xray_version"])
    assert found["names_ready"] == service.client.get("/health").json()["server_names_ready"] > 0
    assert f"pbk={found['public_key']}&" in config
    seen_at = datetime.fromisoformat(found["seen_at"]).replace(tzinfo=UTC)
    assert timedelta(0) <= datetime.now(UTC) - seen_at < timedelta(minutes=1)


def test_an_unknown_node_is_said(service: Service) -> None:
    """404 where it is looked for, 400 where a key should go; nothing is made."""
    before = len(service.client.get("/api/keys").json())
    for path in ("/api/nodes/far", "/api/nodes/2", "/api/keys?node=far", "/api/system/ports?node=0"):
        answer = service.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "node_not_found"), path
    for node in ("far", 2, "", "LOCAL"):
        for path, body in (("", {"name": "a", "node": node}), ("/bulk", {"keys": [{"name": "a", "node": node}]})):
            answer = service.client.post(f"/api/keys{path}", json=body)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_choice"), (node, path)
            assert "there is local" in answer.json()["detail"]
    wrong: list[object] = [True, 1.5, [], {}]
    for one in wrong:
        assert service.client.post("/api/keys", json={"name": "a", "node": one}).status_code == 400, one
    two = service.client.post("/api/keys", json={"name": "a", "node": "local", "group": "default"})
    assert (two.status_code, "give this or node, not both" in two.text) == (400, True), two.text
    assert service.cli("keys", "add", "a", "--node", "local", "--group", "default").returncode == 2
    assert len(service.client.get("/api/keys").json()) == before


def test_a_node_that_has_not_joined_is_not_replaced_but_joined(service: Service) -> None:
    """Its address is not known yet; the earlier command may have expired."""
    assert service.cli("nodes", "add", "late").returncode == 0
    try:
        said = service.cli("nodes", "replace", "late").stdout
        assert "Node late has not joined yet: this command joins it" in " ".join(said.split())
        assert "whose address" not in said
    finally:
        assert service.cli("nodes", "rm", "late").returncode == 0


def test_nothing_is_offered_that_cannot_be_kept(service: Service) -> None:
    """No machine takes the place of this server's own node, and no key goes to another node by a change of its own."""
    key = make(service)
    assert service.client.post("/api/nodes/local/replace").status_code == 400
    assert service.client.patch(f"/api/keys/{key['id']}", json={"node": "local"}).status_code == 400


def test_every_answer_with_a_key_has_its_node(service: Service) -> None:
    """However the node was chosen, and by whatever route the key is seen."""
    made = [make(service), *(make(service, node=node) for node in ("local", "1", 1, None))]
    bulk = service.client.post("/api/keys/bulk", json={"keys": [{"name": "b", "node": "local"}, {"name": "c"}]}).json()
    path = f"/api/keys/{made[0]['id']}"
    seen = [
        *made,
        *bulk,
        service.client.get(path).json(),
        service.client.get(f"{path}/config").json()["key"],
        service.client.patch(path, json={"note": "x"}).json(),
        service.client.post(f"{path}/rotate", json={"short_id": True}).json()["key"],
        *service.client.post("/api/keys/bulk/extend", json={"ids": [made[0]["id"]], "days": 1}).json(),
        *service.client.get("/api/keys").json(),
        *service.client.get("/api/keys?limit=2").json(),
    ]
    assert {key["node"] for key in seen} == {"local"}
    assert [key["ignored_fields"] for key in (*made, *bulk)] == [[]] * 7
    repeated = {"name": "again", "node": "local"}
    first, again = (
        service.client.post("/api/keys", json=repeated, headers={"Idempotency-Key": "one"}).json() for _ in range(2)
    )
    assert first == again


def test_the_list_by_node_is_the_list(service: Service) -> None:
    """With the search and by pages too, and the link to the next page keeps the node."""
    everything = service.client.get("/api/keys").json()
    assert service.client.get("/api/keys?node=local").json() == everything
    assert service.client.get("/api/keys?node=1&name=b").json() == [key for key in everything if key["name"] == "b"]
    page = service.client.get("/api/keys?node=local&limit=1")
    assert page.json() == everything[:1]
    assert "node=local" in page.links["next"]["url"]
    assert service.client.get(f"/api/keys{page.links['next']['url']}").json() == everything[1:2]


def test_system_answers_list_their_nodes(service: Service) -> None:
    """With `?node=` and without; what is summed up is what this one node has."""
    asked = [*(("GET", path) for path in LOOKING), *(("POST", path) for path in REPAIRING)]
    for method, path in asked:
        for query in ("", "?node=local", "?node=1"):
            answer = service.client.request(method, f"/api/system/{path}{query}")
            assert answer.status_code == 200, (path, answer.text)
            (part,) = answer.json()["nodes"]
            assert (part["node"], part["state"]) == ("local", "up"), path
        assert service.client.request(method, f"/api/system/{path}?node=far").status_code == 404, path
    ports = service.client.get("/api/system/ports").json()
    (part,) = ports["nodes"]
    for name in ("used_ports", "available_ports", "max_ports", "port_range"):
        assert part[name] == ports[name]
    status = service.client.get("/api/system/config-status").json()
    assert status["nodes"][0]["synchronized"] is status["synchronized"] is True
    assert service.client.get("/api/system/ports/status").json()["nodes"][0]["valid"] is True


def test_revisions_follow_the_running_xray(service: Service) -> None:
    """The built-in node has what the database says; while its config.json lacks a key, it says so."""
    before = local(service)
    assert before["applied"] == before["desired"]
    assert before["lag_s"] == 0
    key = make(service)
    after = local(service)
    assert after["applied"] == after["desired"] > before["desired"]
    path = service.data_dir / "config.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["inbounds"] = [one for one in document["inbounds"] if one["tag"] != f"key-{key['id']}"]
    path.write_text(json.dumps(document), encoding="utf-8")
    behind = local(service)
    assert (behind["state"], behind["applied"], behind["desired"]) == ("up", None, after["desired"])
    assert wait_until(lambda: local(service)["lag_s"] > behind["lag_s"])
    service.client.post("/api/system/sync-config").raise_for_status()
    moving = {"seen_at": None, "cpu_share": None}
    assert {**local(service), **moving} == {**after, **moving}


def test_both_clients_know_nodes(service: Service) -> None:
    """The methods, and what is refused."""
    with Client.over(service.new_client()) as client:
        (node,) = client.nodes.list()
        assert client.nodes.get("1").name == node.name == "local"
        made = client.keys.create("by node", node=node.id)
        assert made.node == "local"
        assert made.id in {key.id for key in client.keys.list(node="local")}
        assert client.keys.page(1, node="local").next_after
        assert [part.node for part in client.system.ports(node="local").nodes] == ["local"]
        with pytest.raises(NotFound):
            client.nodes.get("far")
        with pytest.raises(NotFound):
            client.keys.list(node="far")
        with pytest.raises(Rejected):
            client.keys.create("nowhere", node="far")

    async def ask() -> str:
        async with AsyncClient.local(admin_socket(service.data_dir)) as client:
            return (await client.nodes.get("local")).name

    assert asyncio.run(ask()) == "local"


def test_ports_of_the_system_are_those_of_the_built_in_node(target: RealityTarget) -> None:
    """Another node may have the same ones: its keys are in no table and no finding of this host."""
    with Service(target, settings={"VPNKEYS_RATE_LIMITS": "off"}) as service:
        service.wait_ready()
        first = int(service.client.get("/api/nodes/local").json()["port_range"].split("-")[0])
        with simulated_agent(service, "far", ports=f"{first}-{first + 4}"):
            keys = [make(service, node=node) for node in ("local", "far", "far")]
            assert keys[0]["port"] == keys[1]["port"] == first
            for query in ("", "?node=local"):
                ports = service.client.get(f"/api/system/ports{query}").json()
                assert [one["key_id"] for one in ports["port_assignments"]["used_ports"].values()] == [keys[0]["id"]]
                assert [*ports["port_assignments"]["port_assignments"]] == [keys[0]["uuid"]]
                assert ports["used_ports"] == ports["max_ports"] - ports["available_ports"] == 1
                assert [part["used_ports"] for part in ports["nodes"]] == [1]
            status = service.client.get("/api/system/ports/status").json()["validation"]
            assert (status["valid"], status["total_assignments"], status["total_used_ports"]) == (True, 1, 1)
            report = quick(service)
            assert report.of("ports", "fail") == report.of("ports", "warn") == [], report.findings
