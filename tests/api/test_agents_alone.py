"""What a thief can do with a node's token and with what lies on its disk, and what a false control plane learns."""

from __future__ import annotations

import string
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route
from tests.api.test_agents import Answer, join, report, wanted
from tests.support.service import Service
from tests.support.target import RealityTarget

from vpnkeys.agent.membership import DesiredFile, Kept, Membership
from vpnkeys.api.app import _PARTS
from vpnkeys.api.routing import ApiRoute
from vpnkeys.client import Unavailable
from vpnkeys.client.agent import ControlPlane
from vpnkeys.wire.agents import JoinRequest

pytestmark = pytest.mark.e2e

ROUTES: Final = sorted(
    (method, route.path, isinstance(route, ApiRoute) and route.needs.scope is not None)
    for part in _PARTS
    for route in part.router.routes
    if isinstance(route, Route)
    for method in route.methods or ()
)
"""Method and path of each route, and whether it asks who calls it."""
REQUESTS: Final = 250


@dataclass(frozen=True)
class Scene:
    """A control plane with a key of its own and two nodes: one that was stolen, and one whose key is another's."""

    service: Service
    token: str
    fingerprint: str
    mine: Answer
    others: tuple[Answer, Answer]

    @property
    def secrets(self) -> list[str]:
        """What the thief must never see."""
        return [str(key[name]) for key in self.others for name in ("uuid", "short_id", "name", "id")]


def made_on(service: Service, plane: ControlPlane, name: str) -> Answer:
    """A key on a node, whose agent confirms it."""
    start = wanted(plane)
    plane.report(report(start))
    with ThreadPoolExecutor(1) as pool:
        body = {"name": f"name of {name}", "node": name}
        making = pool.submit(service.client.post, "/api/keys", json=body)
        plane.report(report(wanted(plane, start.rev)))
        return dict(making.result(timeout=20).raise_for_status().json())


@pytest.fixture(scope="module")
def scene(target: RealityTarget) -> Iterator[Scene]:
    """Set it."""
    with Service(target) as service:
        service.wait_ready()
        made, thief, token = join(service, "stolen")
        _, other, _ = join(service, "victim")
        mine, theirs = made_on(service, thief, "stolen"), made_on(service, other, "victim")
        local = service.client.post("/api/keys", json={"name": "name of local", "node": "local"}).raise_for_status()
        yield Scene(service, token, made["join_command"].split()[-1], mine, (theirs, dict(local.json())))
        thief.close()
        other.close()


def what_is(scene: Scene) -> tuple[object, ...]:
    """All that a thief could change of others."""
    client = scene.service.client
    others = {str(key["id"]) for key in scene.others}
    keys = [key for key in client.get("/api/keys").json() if key["id"] in others]
    traffic = [client.get(f"/api/keys/{key_id}/traffic").json()["total_bytes"] for key_id in sorted(others)]
    steady = ("id", "name", "group", "address", "port_range", "max_keys", "weight", "keys", "public_key", "version")
    nodes = [
        {name: node[name] for name in steady} for node in client.get("/api/nodes").json() if node["name"] != "stolen"
    ]
    return keys, traffic, nodes, client.get("/api/tokens").json(), client.get("/api/webhooks").json()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.text(string.ascii_letters, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(string.ascii_lowercase, max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=REQUESTS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), route=st.sampled_from(ROUTES), is_bearer=st.booleans())
def test_a_node_s_token_opens_no_route_of_the_api(
    scene: Scene, data: st.DataObject, route: tuple[str, str, bool], is_bearer: bool
) -> None:
    """Whatever is asked, by any method, path and body: nothing of other nodes comes back, and nothing is done."""
    method, pattern, is_closed = route
    known = [str(scene.others[0]["id"]), str(scene.others[0]["uuid"]), "victim", "local", "stolen", "1", "2", "3"]
    path = "/".join(data.draw(st.sampled_from(known)) if part.startswith("{") else part for part in pattern.split("/"))
    shown = {"Authorization": f"Bearer {scene.token}"} if is_bearer else {"X-API-Key": scene.token}
    body = data.draw(json_values)
    with scene.service.new_client("") as client:
        answer = client.request(method, path, headers=shown, json=body)
    for secret in scene.secrets:
        assert secret not in answer.text
    if is_closed:
        assert answer.status_code == 401, (method, path, answer.status_code)


reported = st.fixed_dictionaries(
    {},
    optional={
        "rev": st.text(string.hexdigits, max_size=32),
        "failed": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
        "names": st.lists(st.text(string.ascii_lowercase, max_size=9), max_size=3),
        "version": st.text(max_size=9),
        "ticket": st.text(max_size=9),
        "node": st.sampled_from(["victim", "local", 1, 3]),
        "node_id": st.sampled_from([1, 3]),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=reported, whose=st.sampled_from([0, 1, 2]), by=st.sampled_from(["uuid", "id"]), count=st.integers(0, 10**12)
)
def test_a_report_changes_what_is_its_own_alone(
    scene: Scene, said: dict[str, Any], whose: int, by: str, count: int
) -> None:
    """Whatever it says, also of whom it is; and one that tells of others' keys is refused as a whole."""
    before = what_is(scene)
    seen = {node["name"]: node["seen_at"] for node in scene.service.client.get("/api/nodes").json()}
    now = datetime.now(UTC).replace(tzinfo=None).isoformat()
    key = (*scene.others, scene.mine)[whose]
    document = {
        **said,
        "now": now,
        "online": {str(key[by]): 3},
        "lives": [{"epoch": "x", "sampled_at": now, "usage": {str(key[by]): [count, count]}}],
    }
    with scene.service.new_client(scene.token) as client:
        answer = client.post("/agent/report", json=document)
    is_lie = whose < 2 and by == "uuid"
    assert (answer.status_code, answer.json().get("code")) == ((400, "report_refused") if is_lie else (200, None))
    assert what_is(scene) == before
    after = {node["name"]: node["seen_at"] for node in scene.service.client.get("/api/nodes").json()}
    assert after["victim"] == seen["victim"]
    assert scene.service.client.get(f"/api/keys/{scene.others[0]['id']}/online").json()["devices"] == 0


def test_lies_are_in_the_audit_log_once(scene: Scene) -> None:
    """However many there are; each was refused."""
    now = datetime.now(UTC).replace(tzinfo=None).isoformat()
    lives = [{"epoch": "x", "sampled_at": now, "usage": {str(scene.others[0]["uuid"]): [1, 1]}}]
    with scene.service.new_client(scene.token) as client:
        statuses = {client.post("/agent/report", json={"now": now, "lives": lives}).status_code for _ in range(20)}
    assert statuses == {400}
    (entry,) = scene.service.client.get("/api/audit?action=node.reported").json()
    assert (entry["outcome"], entry["actor"]) == ("failed", "node stolen")


def test_what_lies_on_a_node_s_disk_opens_nothing_of_others(scene: Scene, tmp_path: Path) -> None:
    """What it was last wanted to have has its own keys, and no word in it is a credential; only its owner reads it."""
    plane = ControlPlane(scene.service.base_url, scene.token, scene.fingerprint)
    file = DesiredFile(tmp_path / "desired.json")
    file.write(Kept.model_validate(wanted(plane).model_dump()))
    plane.close()
    text = file.path.read_text(encoding="utf-8")
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert str(scene.mine["uuid"]) in text
    for secret in (*scene.secrets, scene.token, str(scene.mine["name"]), scene.service.api_key):
        assert secret not in text
    words = {word for word in text.replace(":", " ").replace(",", " ").translate(_NO_MARKS).split() if len(word) > 7}
    with scene.service.new_client("") as client:
        for word in words:
            for path in ("/api/keys", "/agent/desired?wait_s=0"):
                assert client.get(path, headers={"X-API-Key": word}).status_code == 401, (path, word)
            assert str(scene.mine["uuid"]) not in client.get(f"/sub/{word}").text


def refusals(scene: Scene) -> list[str]:
    """What the audit log says of joins that were refused."""
    found = scene.service.client.get("/api/audit?action=node.joined&outcome=failed").raise_for_status().json()
    return [entry["detail"] for entry in found]


def test_a_false_control_plane_is_told_nothing(scene: Scene) -> None:
    """With another certificate than the pinned one, the token is never sent, and works where it is meant for."""
    before = refusals(scene)
    made = scene.service.client.post("/api/nodes", json={"name": "fifth"}).raise_for_status().json()
    asking = JoinRequest(token=made["join_token"], public_key="K" * 43, address="198.51.100.7", port_range="1-3")
    false = ControlPlane(scene.service.base_url, made["join_token"], "00:" * 31 + "00")
    with pytest.raises(Unavailable) as refused:
        false.join(asking)
    false.close()
    assert refused.value.code == "untrusted_certificate"
    assert refusals(scene) == before
    plane = ControlPlane(scene.service.base_url, made["join_token"], scene.fingerprint)
    assert plane.join(asking).node == "fifth"
    for _ in range(5):
        with pytest.raises(Exception, match="unauthorized"):
            plane.join(asking)
    plane.close()
    assert refusals(scene) == [*before, "The token was used before or has expired."]
    assert made["join_token"] not in scene.service.log()


def test_a_stolen_membership_is_worth_nothing_once_the_node_is_lost(scene: Scene, tmp_path: Path) -> None:
    """It is the token that opens the node's own keys; it is its owner's file, and is not printed."""
    kept = Membership(scene.service.base_url, "stolen", scene.token, None, "1-3")
    kept.save(tmp_path)
    assert scene.token in (tmp_path / "agent.json").read_text(encoding="utf-8")
    assert scene.token not in repr(kept)
    scene.service.client.patch("/api/nodes/stolen", json={"state": "lost"}).raise_for_status()
    with scene.service.new_client(scene.token) as client:
        assert client.get("/agent/desired?wait_s=0").status_code == 401
        now = datetime.now(UTC).replace(tzinfo=None).isoformat()
        assert client.post("/agent/report", json={"now": now}).status_code == 401


_NO_MARKS = str.maketrans('"{}[]', "     ")
