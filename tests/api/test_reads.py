"""One key and all of them, as every caller gets them: the same answer, to the byte, never an old one."""

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
    """The same question with the API key in its header, and in a browser's session."""
    with service.new_client(api_key="") as browser:
        browser.post("/ui/session", json={"token": service.api_key}).raise_for_status()
        return service.client.get(path), browser.get(path)


def told(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """All of an answer but what differs each time."""
    headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in MOVING}
    content = answer.content.replace(answer.headers["x-request-id"].encode(), b"ID")
    return answer.status_code, content, headers


def test_bots_and_browsers_get_the_same(service: Service) -> None:
    """The list, each key by its id and its UUID, and whatever is not there."""
    keys = service.client.get("/api/keys").json()
    paths = ["/api/keys", "/api/keys?x=1", "/api/keys/nobody", "/api/keys/", "/api/keys/bulk"]
    paths += [f"/api/keys/{key[name]}" for key in keys for name in ("id", "uuid")]
    for path in paths:
        bot, browser = both(service, path)
        assert told(bot) == told(browser), path


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
        ({"X-API-Key": "KEY", "Authorization": "Bearer KEY"}, 200),
        ({"X-API-Key": "KEY", "Authorization": "Bearer wrong"}, 400),
        ({"X-API-Key": "wrong", "Authorization": "Bearer KEY"}, 400),
    ],
)
def test_who_is_let_in(service: Service, headers: dict[str, str], status: int) -> None:
    """By the API key in either header; two different ones are refused, whichever is right."""
    shown = {name: value.replace("KEY", service.api_key) for name, value in headers.items()}
    with service.new_client(api_key="") as client:
        assert client.get("/api/keys", headers=shown).status_code == status


def test_limits_hold(target: RealityTarget) -> None:
    """Counted once each, with the numbers on every answer."""
    with Service(target, settings={"VPNKEYS_RATE_LIMITS": "list=3/minute,get=2/minute"}) as service:
        answers = [service.client.get("/api/keys") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0", "0"]
