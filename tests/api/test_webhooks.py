"""`/api/webhooks` and `vpnkeys webhooks`: made, changed and removed by whoever may, and refused as it should be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.keys import make_key
from tests.support.receiver import Receiver
from tests.support.service import Service
from tests.support.webhooks import Json, add, deliveries

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def _without_webhooks(service: Service) -> Iterator[None]:
    """No test has another's."""
    yield
    for webhook in service.client.get("/api/webhooks").json():
        service.client.delete(f"/api/webhooks/{webhook['id']}")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver by HTTP."""
    with Receiver() as receiver:
        yield receiver


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ({"url": 7}, "invalid_request"),
        ({"url": "https://example.com", "events": ["key.sold"]}, "invalid_request"),
        ({"url": "https://example.com", "more": 1}, "invalid_request"),
        ({"url": "http://example.com"}, "invalid_webhook_url"),
        ({"url": "https://169.254.169.254/"}, "invalid_webhook_url"),
        ({"url": "https://пример.рф"}, "invalid_webhook_url"),
    ],
)
def test_a_wrong_webhook_is_not_made(service: Service, body: Json, code: str) -> None:
    """400, and nothing is added."""
    answer = service.client.post("/api/webhooks", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert service.client.get("/api/webhooks").json() == []


def test_there_are_twenty_at_most(service: Service) -> None:
    """Each has a worker of its own; one removed makes room."""
    made = [add(service, f"https://127.0.0.1:9/{number}", "ping") for number in range(20)]
    answer = service.client.post("/api/webhooks", json={"url": "https://127.0.0.1:9/"})
    assert (answer.status_code, answer.json()["code"]) == (400, "too_many_webhooks")
    service.client.delete(f"/api/webhooks/{made[0]['id']}").raise_for_status()
    add(service, "https://127.0.0.1:9/", "ping")


def test_a_webhook_is_changed_field_by_field(service: Service) -> None:
    """What is not given stays; what is not there is 404, for every method."""
    made = add(service, "https://127.0.0.1:9/a", "key.deleted", "key.created", "key.deleted")
    path = f"/api/webhooks/{made['id']}"
    shown = {name: made[name] for name in ("id", "url", "events", "is_active", "created_at")}
    assert shown["events"] == ["key.created", "key.deleted"]
    assert service.client.get("/api/webhooks").json() == [shown]
    changes: list[Json] = [{"is_active": False}, {"url": "https://127.0.0.1:9/b"}, {"events": []}, {}]
    for change in changes:
        shown |= change
        assert service.client.patch(path, json=change).json() == shown
    assert service.client.patch(path, json={"url": "http://example.com"}).status_code == 400
    assert service.client.get("/api/webhooks").json() == [shown]
    nobody = "/api/webhooks/nobody"
    for method, place in (
        ("PATCH", nobody),
        ("DELETE", nobody),
        ("POST", f"{nobody}/test"),
        ("GET", f"{nobody}/deliveries"),
    ):
        answer = service.client.request(method, place, json={} if method == "PATCH" else None)
        assert (answer.status_code, answer.json()["code"]) == (404, "webhook_not_found")


def test_webhooks_are_for_admins(service: Service) -> None:
    """A token that makes keys neither sees nor makes them."""
    token = service.client.post("/api/tokens", json={"name": "bot", "scope": "keys"}).json()["token"]
    with service.new_client(api_key=token) as bot:
        for method in ("GET", "POST"):
            answer = bot.request(method, "/api/webhooks", json={"url": "https://example.com"})
            assert (answer.status_code, answer.json()["code"]) == (401, "insufficient_scope")


def test_the_command_line(service: Service, receiver: Receiver) -> None:
    """Add, list, test, deliveries, rm: for people and as JSON, with the exit code of what came of it."""
    added = service.cli("webhooks", "add", receiver.url, "--event", "ping", "--event", "key.deleted", "--json")
    assert added.returncode == 0, added.stderr
    (webhook,) = service.client.get("/api/webhooks").json()
    assert f'"id": "{webhook["id"]}"' in added.stdout
    assert '"secret": "vpnk_hook_' in added.stdout
    listed = service.cli("webhooks", "list").stdout
    assert webhook["id"] in listed
    assert "key.deleted, ping" in listed
    assert "vpnk_hook_" not in listed
    assert service.cli("webhooks", "test", webhook["id"]).returncode == 0
    receiver.answer = lambda _: 503
    failed = service.cli("webhooks", "test", webhook["id"])
    assert failed.returncode == 1
    assert "HTTP 503" in failed.stdout
    key = make_key(service, "cli")
    service.client.delete(f"/api/keys/{key['id']}")
    service.child.wait_for(lambda: deliveries(service, webhook)[0]["attempts"] > 0, "a try")
    assert "next try" in service.cli("webhooks", "deliveries", webhook["id"]).stdout
    assert service.cli("webhooks", "rm", webhook["id"]).returncode == 0
    assert service.cli("webhooks", "rm", webhook["id"]).returncode == 1
    assert service.cli("webhooks", "add", "http://example.com").returncode == 1
