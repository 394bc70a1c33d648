"""What a script of a page of another origin may read of the answers of a real server."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from tests.support.keys import make_key
from tests.support.service import Service
from tests.support.target import RealityTarget

from vpnkeys.api.cors import READABLE

pytestmark = pytest.mark.e2e

ORIGIN = {"Origin": "https://shop.example"}
# The Fetch standard's safelist, and what browsers and proxies go by.
ALWAYS_READABLE = {"cache-control", "content-language", "content-length", "content-type", "expires", "last-modified"}
FOR_BROWSERS = {
    "access-control-allow-origin",
    "access-control-expose-headers",
    "allow",
    "content-encoding",
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "date",
    "location",
    "referrer-policy",
    "vary",
    "x-accel-buffering",
    "x-content-type-options",
    "x-robots-tag",
}


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service whose answers have all headers that there are."""
    settings = {
        "VPNKEYS_CORS_ORIGINS": ORIGIN["Origin"],
        "VPNKEYS_RATE_LIMITS": "get=1/minute",
        "VPNKEYS_SUPPORT_URL": "https://t.me/lights",
        "VPNKEYS_ANNOUNCEMENT": "tonight",
    }
    with Service(target, settings=settings) as service:
        service.wait_ready()
        for name in ("a", "b", "c"):
            make_key(service, name)
        yield service


def exposed(answer: httpx.Response) -> set[str]:
    """The headers that a script may read because the answer says so."""
    return {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}


def test_a_script_walks_the_pages(service: Service) -> None:
    """By the header that leads from each to the next, as far as the script may read it."""
    names, query = [], "?limit=1"
    while query:
        answer = service.client.get(f"/api/keys{query}", headers=ORIGIN)
        names += [key["name"] for key in answer.json()]
        query = answer.links.get("next", {}).get("url", "") if "link" in exposed(answer) else ""
    assert names == ["a", "b", "c"]


def test_scripts_may_read_all_headers_that_are_for_them(service: Service) -> None:
    """Of answers and refusals of every kind; and no header is named that no answer has."""
    key = service.client.get("/api/keys").json()[0]
    made = service.client.post(f"/api/keys/{key['id']}/subscription").json()
    subscription = httpx.URL(made["url"]).path
    asked = [
        ("GET", "/api/keys?limit=1"),
        ("GET", f"/api/keys/{key['id']}"),
        ("GET", f"/api/keys/{key['id']}"),  # one too many
        ("GET", f"/api/keys/{key['id']}/traffic"),
        ("GET", subscription),
        ("GET", f"{subscription}?format=html"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/api/keys/"),  # redirected
        ("GET", "/nothing"),
        ("PUT", "/api/keys"),
        ("HEAD", "/api/events"),
    ]
    answers = [service.client.request(method, path, headers=ORIGIN) for method, path in asked]
    answers.append(service.client.get("/api/keys", headers={**ORIGIN, "X-API-Key": "wrong"}))
    assert {answer.status_code for answer in answers} >= {200, 401, 404, 405, 429}
    seen = {name.lower() for answer in answers for name in answer.headers} - ALWAYS_READABLE - FOR_BROWSERS
    assert seen == {name.lower() for name in READABLE}
    assert all(exposed(answer) == seen for answer in answers)
