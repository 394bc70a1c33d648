"""API tokens: each may what its scope says, for as long as it is valid, and nobody can read it from the server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

LOOKING = [
    ("GET", "/api/keys"),
    ("GET", "/api/system/ports"),
    ("GET", "/api/system/config-status"),
    ("GET", "/api/system/xray/inbounds"),
]
CHANGING_KEYS = [
    ("POST", "/api/keys"),
    ("POST", "/api/keys/bulk"),
    ("POST", "/api/keys/bulk/delete"),
    ("POST", "/api/keys/bulk/extend"),
    ("PATCH", "/api/keys/nobody"),
    ("POST", "/api/keys/nobody/rotate"),
    ("DELETE", "/api/keys/nobody"),
    ("POST", "/api/keys/nobody/traffic/reset"),
]
ADMINISTERING = [
    ("POST", "/api/system/sync-config"),
    ("POST", "/api/system/ports/reset"),
    ("POST", "/api/system/verify-reality"),
    ("POST", "/api/system/xray/sync-config"),
    ("POST", "/api/system/fix-reality-keys"),
    ("GET", "/api/tokens"),
    ("POST", "/api/tokens"),
    ("DELETE", "/api/tokens/nobody"),
    ("POST", "/api/tokens/nobody/rotate"),
    ("GET", "/api/audit"),
]
SIGN_IN = ("post", "/ui/session")
MAY = {"read": LOOKING, "keys": LOOKING + CHANGING_KEYS, "admin": LOOKING + CHANGING_KEYS}
MAY_NOT = {"read": CHANGING_KEYS + ADMINISTERING, "keys": ADMINISTERING, "admin": []}


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service of this module's own."""
    with Service(target) as service:
        service.wait_ready()
        yield service


def make(service: Service, scope: str, **more: str) -> dict[str, Any]:
    """A token, made with the first key."""
    answer = service.client.post("/api/tokens", json={"name": f"a {scope} token", "scope": scope, **more})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def ask(service: Service, token: str, method: str, path: str) -> httpx.Response:
    """One request with this token and an empty body."""
    with service.new_client(api_key=token) as client:
        return client.request(method, path, json={} if method in {"POST", "PATCH"} else None)


@pytest.mark.parametrize("scope", ["read", "keys", "admin"])
def test_a_token_may_what_its_scope_says(service: Service, scope: str) -> None:
    """And nothing else: what is refused says which scope it needs, and nothing was done."""
    token = make(service, scope)["token"]
    for method, path in MAY[scope]:
        assert ask(service, token, method, path).status_code in {200, 400, 404}, (method, path)
    for method, path in MAY_NOT[scope]:
        answer = ask(service, token, method, path)
        assert (answer.status_code, answer.json()["code"]) == (401, "insufficient_scope"), (method, path)
    assert ask(service, token, "GET", "/api/tokens/me").json()["scope"] == scope


def test_every_route_asks_for_a_scope(service: Service) -> None:
    """Whatever the API describes: without a key nobody gets in, but where it says so."""
    paths = service.client.get("/openapi.json").json()["paths"]
    is_open = {"/", "/api", "/api/", "/health"}
    with service.new_client(api_key="") as nobody:
        for path, operations in paths.items():
            for method in operations:
                if path not in is_open and (method, path) != SIGN_IN and not path.startswith("/sub/"):
                    address = path.replace("{", "").replace("}", "")
                    assert nobody.request(method, address).status_code == 401, (method, path)


def test_the_text_is_told_once_and_is_nowhere_on_the_disk(service: Service) -> None:
    """Neither whole nor its secret part; what is listed is the visible prefix."""
    made = make(service, "read")
    secret = made["token"].removeprefix(made["prefix"])
    assert len(secret) > 40
    listed = service.client.get("/api/tokens").text
    assert made["prefix"] in listed
    assert secret not in listed
    kept = [path.read_bytes() for path in service.data_dir.rglob("*") if path.is_file()]
    assert all(secret.encode() not in content for content in kept)
    assert secret not in service.log()


def test_a_revoked_token_opens_nothing_from_the_next_request_on(service: Service) -> None:
    """Also on a connection that is open already; a second end is refused."""
    made = make(service, "keys")
    with service.new_client(api_key=made["token"]) as client:
        assert client.get("/api/keys").status_code == 200
        assert service.client.delete(f"/api/tokens/{made['id']}").json()["is_valid"] is False
        assert client.get("/api/keys").status_code == 401
    assert service.client.delete(f"/api/tokens/{made['id']}").json()["code"] == "token_not_found"


def test_an_expired_token_opens_nothing(service: Service) -> None:
    """The expiry is looked at with each request."""
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert ask(service, make(service, "admin", expires_at=past)["token"], "GET", "/api/keys").status_code == 401
    assert ask(service, make(service, "admin", expires_at=future)["token"], "GET", "/api/keys").status_code == 200


def test_a_rotated_token_gives_way_to_its_successor(service: Service) -> None:
    """At once, or after the overlap; name, scope and expiry stay."""
    old = make(service, "read", expires_at="2031-01-01T00:00:00")
    new = service.client.post(f"/api/tokens/{old['id']}/rotate").json()
    assert [new[name] for name in ("name", "scope", "expires_at")] == [
        old[name] for name in ("name", "scope", "expires_at")
    ]
    assert ask(service, old["token"], "GET", "/api/keys").status_code == 401
    assert ask(service, new["token"], "GET", "/api/keys").status_code == 200
    newest = service.client.post(f"/api/tokens/{new['id']}/rotate", params={"overlap_hours": 1}).json()
    for token in (new, newest):
        assert ask(service, token["token"], "GET", "/api/keys").status_code == 200


def test_the_first_key_stays_valid_as_admin(service: Service) -> None:
    """Whatever tokens there are; and it is no token that could be revoked."""
    assert service.client.get("/api/tokens/me").json() == {
        "id": "first",
        "name": "the first API key",
        "scope": "admin",
    }
    assert service.client.delete("/api/tokens/first").status_code == 404


def test_a_use_is_noted(service: Service) -> None:
    """So that an operator can tell which token nobody needs any more."""
    made = make(service, "read")
    assert made["last_used_at"] is None
    assert ask(service, made["token"], "GET", "/api/keys").status_code == 200

    def is_noted() -> bool:
        tokens = service.client.get("/api/tokens").json()
        return any(token["id"] == made["id"] and token["last_used_at"] for token in tokens)

    service.child.wait_for(is_noted, "note of the use")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x"},
        {"name": "x", "scope": "root"},
        {"name": "", "scope": "read"},
        {"name": "x", "scope": "read", "expires_at": "soon"},
        {"name": "x", "scope": "read", "more": 1},
    ],
)
def test_a_wrong_token_is_not_made(service: Service, body: dict[str, Any]) -> None:
    """400, and nothing is added."""
    before = len(service.client.get("/api/tokens").json())
    assert service.client.post("/api/tokens", json=body).status_code == 400
    assert len(service.client.get("/api/tokens").json()) == before


def test_wrong_tokens_are_throttled_like_wrong_keys(target: RealityTarget) -> None:
    """A well-formed guess counts as well; the right one still gets in."""
    with Service(target, settings={"VPNKEYS_RATE_LIMITS": "guess=3/minute"}) as service:
        made = make(service, "read")
        guess = made["prefix"] + "_" + "x" * 43
        answers = [ask(service, guess, "GET", "/api/keys").status_code for _ in range(5)]
        assert answers == [401, 401, 401, 429, 429]
        assert ask(service, made["token"], "GET", "/api/keys").status_code == 200
