"""The short way and the long way give the same answer, to the byte, whatever is asked."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from tests.support.keys import make_key
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

MOVING = {"x-request-id", "date"}


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service with keys of every kind."""
    with Service(target) as service:
        service.wait_ready()
        for name in ("plain", "Иван 🦄", '"quoted" <b>\\', "x" * 128):
            make_key(service, name)
        limits = {"note": "a\nb", "max_devices": 2, "expires_at": "2030-01-01T00:00:00", "traffic_limit_bytes": 5}
        key = make_key(service, "limited")
        service.client.patch(f"/api/keys/{key['id']}", json=limits)
        yield service


def both(service: Service, path: str) -> tuple[httpx.Response, httpx.Response]:
    """The same question by the short way (the API key in its header) and by the long one (a browser's session)."""
    with service.new_client(api_key="") as browser:
        browser.post("/ui/session", json={"token": service.api_key}).raise_for_status()
        return service.client.get(path), browser.get(path)


def told(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """All of an answer but what differs each time."""
    headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in MOVING}
    content = answer.content.replace(answer.headers["x-request-id"].encode(), b"ID")
    return answer.status_code, content, headers


def test_both_ways_answer_alike(service: Service) -> None:
    """The list, each key by its id and its UUID, and whatever is not there."""
    keys = service.client.get("/api/keys").json()
    paths = ["/api/keys", "/api/keys?x=1", "/api/keys/nobody", "/api/keys/", "/api/keys/bulk"]
    paths += [f"/api/keys/{key[name]}" for key in keys for name in ("id", "uuid")]
    for path in paths:
        short, long = both(service, path)
        assert told(short) == told(long), path


def test_a_change_is_in_the_next_answer(service: Service) -> None:
    """Whoever made it."""
    key = make_key(service, "before")
    assert service.client.get(f"/api/keys/{key['id']}").json()["name"] == "before"
    service.cli("keys", "set", key["id"], "--name", "after")
    assert service.client.get(f"/api/keys/{key['id']}").json()["name"] == "after"
    service.client.delete(f"/api/keys/{key['id']}")
    assert service.client.get(f"/api/keys/{key['id']}").status_code == 404
    assert key["id"] not in service.client.get("/api/keys").text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": "wrong"}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic KEY"}, 401),
        ({"Authorization": "Bearer KEY"}, 200),
        ({"Authorization": "bearer KEY"}, 200),
        ({"X-API-Key": "KEY", "Authorization": "Bearer wrong"}, 200),
        ({"X-API-Key": "wrong", "Authorization": "Bearer KEY"}, 401),
    ],
)
def test_nobody_gets_in_by_the_short_way_alone(service: Service, headers: dict[str, str], status: int) -> None:
    """It lets in whom the long way lets in."""
    shown = {name: value.replace("KEY", service.api_key) for name, value in headers.items()}
    with service.new_client(api_key="") as client:
        assert client.get("/api/keys", headers=shown).status_code == status


def test_limits_hold_on_the_short_way(target: RealityTarget) -> None:
    """Counted once each, with the numbers on every answer."""
    with Service(target, settings={"VPNKEYS_RATE_LIMITS": "list=3/minute,get=2/minute"}) as service:
        answers = [service.client.get("/api/keys") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0", "0"]
