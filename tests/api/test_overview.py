"""What a page about everything needs: totals, plans, pictures, backups, sign-in, and events as they happen."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support import drift
from tests.support.clients import XrayClient
from tests.support.keys import link_of, make_key
from tests.support.service import Service
from tests.support.streams import ByteServer, transfer
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def key(service: Service) -> dict[str, Any]:
    """A key of this module's own."""
    service.wait_ready()
    return dict(make_key(service, HOSTILE))


def test_all_traffic_is_the_sum_of_the_keys(service: Service, key: dict[str, Any], byte_server: ByteServer) -> None:
    """What was moved through a key is in its total, in the total of all, and in the history of all."""
    with XrayClient(link_of(service, key)) as client, byte_server.open(client.socks) as sock:
        transfer(sock, 100_000, 200_000)
    service.client.get(f"/api/keys/{key['id']}/traffic")
    answer = service.client.get("/api/traffic").json()
    mine = next(one for one in answer["keys"] if one["key_id"] == key["id"])
    assert mine["total_bytes"] >= 300_000
    assert mine["last_seen"] is not None
    assert answer["total_bytes"] == sum(one["total_bytes"] for one in answer["keys"])
    points = service.client.get("/api/traffic/history").json()["points"]
    assert sum(point["up_bytes"] + point["down_bytes"] for point in points) >= 300_000
    assert (
        service.client.get("/api/traffic/history", params={"from": "2030-01-01", "to": "2029-01-01"}).status_code == 400
    )


def test_a_plan_tells_what_a_repair_will_do(service: Service, key: dict[str, Any]) -> None:
    """Nothing while all is in step; after a damage just what has to be done; after the repair nothing again."""
    assert service.client.get("/api/system/plan").json()["in_sync"] is True
    (damage,) = [one for one in drift.DRIFTS if one.name == "an inbound removed from the running Xray"]
    damage.make(service, key)
    plan = service.client.get("/api/system/plan").json()
    assert (plan["in_sync"], plan["file"], plan["remove"]) == (False, {"rewrite": False, "problem": ""}, [])
    assert [(one["key_id"], one["port"]) for one in plan["add"]] == [(key["id"], key["port"])]
    service.client.post("/api/system/sync-config")
    assert service.client.get("/api/system/plan").json()["in_sync"] is True


def test_a_plan_for_ports_moves_nothing(service: Service, key: dict[str, Any]) -> None:
    """It names the keys that would move, and they stay; then the reset does just that."""
    later = make_key(service, "later")
    first = make_key(service, "first")
    service.client.delete(f"/api/keys/{later['id']}")
    planned = service.client.get("/api/system/ports/plan").json()["changed"]
    assert [(move["key_id"], move["old_port"], move["new_port"]) for move in planned] == [
        (first["id"], first["port"], later["port"])
    ]
    assert service.client.get(f"/api/keys/{first['id']}").json()["port"] == first["port"]
    assert service.client.post("/api/system/ports/reset").json()["changed"] == planned
    service.client.delete(f"/api/keys/{first['id']}")


def test_targets_are_told_as_last_seen(service: Service, target: RealityTarget) -> None:
    """One for each server name."""
    targets = service.client.get("/api/system/targets").json()["targets"]
    assert {one["server_name"] for one in targets} == set(target.names)
    assert all(one["usable"] for one in targets)


def test_a_qr_code_is_a_picture_of_the_link(service: Service, key: dict[str, Any]) -> None:
    """Well-formed SVG without a script, dark on white."""
    answer = service.client.get(f"/api/keys/{key['id']}/qr.svg")
    assert answer.headers["content-type"].startswith("image/svg+xml")
    root = ET.fromstring(answer.text)  # noqa: S314 - of our own server
    assert root.tag.endswith("svg")
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    assert service.client.get("/api/keys/nobody/qr.svg").status_code == 404


def test_backups_are_made_listed_and_given_out(service: Service) -> None:
    """The newest first; a name that is none, or that leads elsewhere, is not found."""
    made = service.client.post("/api/backups").json()
    assert service.client.get("/api/backups").json()[0] == made
    content = service.client.get(f"/api/backups/{made['name']}").content
    assert len(content) == made["size_bytes"] > 1000
    for name in ("nothing.backup", "..%2Freality.json", "%2Fetc%2Fpasswd"):
        assert service.client.get(f"/api/backups/{name}").status_code == 404
    assert service.client.get("/api/audit", params={"limit": 1}).json()[0]["action"] == "backup.downloaded"


class TestSignIn:
    """A browser signs in with a token and gets a cookie."""

    @pytest.fixture
    def browser(self, service: Service) -> Iterator[httpx.Client]:
        """A client without a key."""
        with service.new_client(api_key="") as client:
            yield client

    def test_the_cookie_is_out_of_reach(self, service: Service, browser: httpx.Client) -> None:
        """For scripts, for other sites, and for plain HTTP; and it is not the token."""
        answer = browser.post("/ui/session", json={"token": service.api_key})
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-vpnkeys=")
        for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"):
            assert word in cookie
        assert service.api_key not in cookie
        assert browser.get("/api/keys").status_code == 200
        assert browser.get("/ui/session").json() == answer.json()

    def test_a_change_needs_the_csrf_token(self, service: Service, browser: httpx.Client) -> None:
        """The cookie alone, which another site could make a browser send, changes nothing."""
        csrf = browser.post("/ui/session", json={"token": service.api_key}).json()["csrf"]
        before = len(browser.get("/api/keys").json())
        for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "x" + csrf}):
            assert browser.post("/api/keys", json={"name": "x"}, headers=headers).status_code == 401
        assert len(browser.get("/api/keys").json()) == before
        made = browser.post("/api/keys", json={"name": "x"}, headers={"X-CSRF-Token": csrf})
        assert made.status_code == 200
        assert browser.delete(f"/api/keys/{made.json()['id']}", headers={"X-CSRF-Token": csrf}).status_code == 200

    def test_signing_out_ends_it(self, service: Service, browser: httpx.Client) -> None:
        """On the server, not only in the browser."""
        csrf = browser.post("/ui/session", json={"token": service.api_key}).json()["csrf"]
        cookie = browser.cookies["__Host-vpnkeys"]
        assert browser.delete("/ui/session", headers={"X-CSRF-Token": csrf}).status_code == 200
        browser.cookies.set("__Host-vpnkeys", cookie)
        assert browser.get("/api/keys").status_code == 401

    def test_it_ends_with_its_token(self, service: Service, browser: httpx.Client) -> None:
        """Who revokes a token also signs out whoever used it."""
        made = service.client.post("/api/tokens", json={"name": "page", "scope": "read"}).json()
        assert browser.post("/ui/session", json={"token": made["token"]}).json()["scope"] == "read"
        assert browser.get("/api/keys").status_code == 200
        service.client.delete(f"/api/tokens/{made['id']}")
        assert browser.get("/api/keys").status_code == 401

    def test_a_wrong_token_signs_nobody_in(self, browser: httpx.Client) -> None:
        """401, without a cookie."""
        answer = browser.post("/ui/session", json={"token": "x" * 40})
        assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)


class TestEvents:
    """What changes is told while it changes."""

    def _events(self, client: httpx.Client) -> Iterator[tuple[str, Any]]:
        """Events as they come."""
        with client.stream("GET", "/api/events", timeout=20) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            name = ""
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)

    def test_all_is_told_at_first(self, service: Service) -> None:
        """As the endpoints tell it."""
        events = self._events(service.client)
        first = dict(next(events) for _ in range(3))
        assert first["keys"] == service.client.get("/api/keys").json()
        assert first["health"]["status"] == service.client.get("/health").json()["status"]
        assert {one["key_id"] for one in first["traffic"]["keys"]} == {one["id"] for one in first["keys"]}

    def test_a_change_is_told(self, service: Service) -> None:
        """A key that somebody else makes, without being asked."""
        with service.new_client() as watcher:
            events = self._events(watcher)
            known = next(data for name, data in events if name == "keys")
            made = make_key(service, "new")
            now = next(data for name, data in events if name == "keys")
        assert [one["id"] for one in now] == [*(one["id"] for one in known), made["id"]]
        service.client.delete(f"/api/keys/{made['id']}")

    def test_it_ends_with_the_token(self, service: Service) -> None:
        """Whoever must not know any more hears no more."""
        made = service.client.post("/api/tokens", json={"name": "watcher", "scope": "read"}).json()
        with service.new_client(api_key=made["token"]) as watcher:
            events = self._events(watcher)
            next(events)
            service.client.delete(f"/api/tokens/{made['id']}")
            assert len(list(events)) < 20
