"""What bots and monitors send, though it could be said better: it is understood, or refused where it is a mistake."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from urllib.parse import quote

import httpx
import pytest
from tests.support.keys import Key, delete_key, list_keys, make_key
from tests.support.service import Service

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def key(service: Service) -> Iterator[Key]:
    """A key whose name needs encoding."""
    key = make_key(service, "Мария & Ко")
    yield key
    delete_key(service, key)


OPEN = ["/", "/api", "/api/", "/health", "/ui/", "/docs", "/openapi.json"]
READS = ["", "/config", "/link", "/traffic", "/traffic/history", "/online", "/qr.svg", "/subscription"]
OTHERS = [
    "/api/keys",
    "/api/keys?name=x",
    "/api/traffic",
    "/metrics",
    "/api/system/ports",
    "/api/audit",
    "/api/tokens/me",
]


def _differing(answer: httpx.Response) -> dict[str, str]:
    """The headers but those that each answer has for itself."""
    own = {"date", "x-request-id", "content-length"}
    return {name: value for name, value in answer.headers.items() if name not in own}


@pytest.mark.parametrize("path", [*OPEN, *READS, *OTHERS])
def test_head_is_get_without_a_body(service: Service, key: Key, path: str) -> None:
    """The same status and headers; a length is that of the body that GET has."""
    path = path if path in [*OPEN, *OTHERS] else f"/api/keys/{key['id']}{path}"
    for api_key in (service.api_key, "wrong"):
        with service.new_client(api_key) as client:
            got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content, _differing(head)) == (got.status_code, b"", _differing(got))
        assert int(head.headers["content-length"]) > 0


def test_head_of_a_subscription(service: Service, key: Key) -> None:
    """Clients ask for its headers alone."""
    path = httpx.URL(service.client.post(f"/api/keys/{key['id']}/subscription").json()["url"]).path
    head = service.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["subscription-userinfo"]
    assert service.client.head(f"{path}x").status_code == httpx.codes.NOT_FOUND


def test_head_of_the_event_stream_ends(service: Service) -> None:
    """It has no end to wait for; the connection serves the next request, and the stream is no more."""
    for _ in range(30):  # more than there may be streams at once
        head = service.client.head("/api/events")
        assert (head.status_code, head.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert service.client.get("/health").status_code == httpx.codes.OK
    assert "Traceback" not in service.log()


def test_head_by_curl(service: Service) -> None:
    """`curl -I`, as monitors send it, and the metrics count it as what it was."""
    command = ["curl", "--insecure", "--silent", "--head", "--max-time", "10", f"{service.base_url}/health"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[0].startswith("HTTP/1.1 200")
    lines = service.client.get("/metrics").text.splitlines()
    assert [line for line in lines if all(word in line for word in ('"HEAD"', '"/health"', '"200"'))]


@pytest.mark.parametrize("spell", [str.upper, str.title])
@pytest.mark.parametrize("name", ["id", "uuid"])
def test_a_uuid_is_known_in_any_case(service: Service, name: str, spell: Callable[[str], str]) -> None:
    """On every path, and in the audit log's query."""
    key = make_key(service, "any case")
    path = f"/api/keys/{spell(key[name])}"
    assert service.client.get(path).json() == key
    for rest in READS:
        assert service.client.get(f"{path}{rest}").status_code == httpx.codes.OK
    assert service.client.patch(path, json={"note": "x"}).json()["id"] == key["id"]
    extended = service.client.post("/api/keys/bulk/extend", json={"ids": [spell(key[name])], "days": 1})
    assert [one["id"] for one in extended.json()] == [key["id"]]
    seen = service.client.get("/api/audit", params={"subject": spell(key["id"])}).json()
    assert {record["subject"] for record in seen} == {key["id"]}
    assert service.client.delete(path).status_code == httpx.codes.OK


def test_a_webhook_and_a_token_too(service: Service) -> None:
    """Where their ids are UUIDs."""
    hook = service.client.post("/api/webhooks", json={"url": "http://127.0.0.1:9/", "events": ["ping"]}).json()
    path = f"/api/webhooks/{hook['id'].upper()}"
    assert service.client.get(f"{path}/deliveries").status_code == httpx.codes.OK
    assert service.client.delete(path).status_code == httpx.codes.OK


def test_keys_are_found_by_their_name(service: Service, key: Key) -> None:
    """Exactly this name, of all keys that have it; none is an empty list."""
    twin = make_key(service, key["name"])
    other = make_key(service, key["name"].lower())
    found = service.client.get(f"/api/keys?name={quote(key['name'])}").json()
    assert found == [key, twin]
    assert service.client.get("/api/keys", params={"name": "nobody"}).json() == []
    assert service.client.get("/api/keys", params={"name": ""}).json() == []
    told = service.cli("keys", "list", "--name", other["name"], "--json")
    assert (told.returncode, other["id"] in told.stdout, key["id"] in told.stdout) == (0, True, False)
    for one in (twin, other):
        delete_key(service, one)


@pytest.mark.parametrize("query", ["nam=x", "names=x", "Name=x", "naem=x"])
def test_a_typo_in_a_query_is_refused(service: Service, key: Key, query: str) -> None:
    """It would be answered with all keys, of which a bot might delete the first."""
    answer = service.client.get(f"/api/keys?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert "if name is meant" in answer.json()["detail"]
    assert service.client.get("/api/keys?page=1&_=7").json() == list_keys(service)


def test_a_typo_in_another_query_is_refused(service: Service, key: Key) -> None:
    """Of any path that has parameters."""
    for path in (f"/api/keys/{key['id']}/traffic/history?steps=day", "/api/audit?limits=1", "/api/audit?subjects=x"):
        assert service.client.get(path).status_code == httpx.codes.BAD_REQUEST


@pytest.mark.parametrize("content_type", [None, "application/json; charset=utf-8", "application/JSON"])
def test_json_needs_no_content_type(service: Service, content_type: str | None) -> None:
    """Missing or with a parameter."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    made = service.client.post("/api/keys", content=b'{"name": "x"}', headers=headers)
    assert made.status_code == httpx.codes.OK
    changed = service.client.patch(f"/api/keys/{made.json()['id']}", content=b'{"note": "y"}', headers=headers)
    assert changed.json()["note"] == "y"
    delete_key(service, made.json())


def test_another_site_cannot_use_that(service: Service) -> None:
    """A browser sends a session's cookie, and no Content-Type, for any page; it changes nothing and signs nobody in."""
    context = ssl.create_default_context(cafile=str(service.data_dir / "tls" / "cert.pem"))
    with httpx.Client(base_url=service.base_url, verify=context) as browser:
        body = f'{{"token": "{service.api_key}"}}'.encode()
        assert browser.post("/ui/session", content=body).status_code == httpx.codes.BAD_REQUEST
        assert not browser.cookies
        browser.post("/ui/session", json={"token": service.api_key}).raise_for_status()
        assert browser.get("/api/keys").status_code == httpx.codes.OK
        refused = browser.post("/api/keys", content=b'{"name": "forged"}')
    assert refused.status_code == httpx.codes.UNAUTHORIZED
    assert "forged" not in {key["name"] for key in list_keys(service)}
