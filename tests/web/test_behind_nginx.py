"""Behind a real nginx, below a prefix: all stays inside the prefix, and each caller has an address of its own."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import Visitor
from tests.support.nginx import Nginx
from tests.support.ports import free_port
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

PREFIX = "/panel"
CALLER, OTHER, FORGED = "127.0.0.9", "127.0.0.10", "203.0.113.99"
GUESSES = 3


@pytest.fixture(scope="module")
def public_port() -> int:
    """Where nginx is."""
    return free_port()


@pytest.fixture(scope="module")
def service(target: RealityTarget, public_port: int) -> Iterator[Service]:
    """A service that knows what stands in front of it."""
    settings = {
        "VPNKEYS_PUBLIC_URL": f"https://127.0.0.1:{public_port}{PREFIX}/",
        "VPNKEYS_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8",
        "VPNKEYS_RATE_LIMITS": f"create=0,list=0,get=0,delete=0,sync=0,guess={GUESSES}/minute",
    }
    with Service(target, settings=settings) as service:
        service.wait_ready()
        yield service


@pytest.fixture(scope="module")
def nginx(service: Service, public_port: int) -> Iterator[Nginx]:
    """One as in the manual."""
    with Nginx(service.address[1], public_port) as nginx:
        yield nginx


@pytest.fixture
def base(nginx: Nginx) -> str:
    """The public base."""
    return f"https://127.0.0.1:{nginx.port}{PREFIX}"


def caller(service: Service, nginx: Nginx, address: str, key: str | None = None, **headers: str) -> httpx.Client:
    """A caller from one address; `headers` are names with underscores."""
    return httpx.Client(
        headers={"X-API-Key": service.api_key if key is None else key}
        | {name.replace("_", "-"): value for name, value in headers.items()},
        transport=httpx.HTTPTransport(
            verify=ssl.create_default_context(cafile=str(nginx.ca_file)), local_address=address, trust_env=False
        ),
        timeout=60,
    )


def addresses(service: Service, subject: str) -> set[str]:
    """From where the audit log says that a key was made."""
    records = service.client.get("/api/audit", params={"subject": subject}).raise_for_status().json()
    return {record["origin"] for record in records if record["action"] == "key.created"}


@pytest.mark.parametrize("forged", [FORGED, f"{FORGED}, 10.1.2.3", "not an address"])
def test_the_audit_log_has_the_callers_address(service: Service, nginx: Nginx, base: str, forged: str) -> None:
    """As nginx saw it, whatever the caller claims."""
    with caller(service, nginx, CALLER, X_Forwarded_For=forged) as client:
        key = client.post(f"{base}/api/keys", json={"name": "me"}).raise_for_status().json()
        assert addresses(service, key["id"]) == {CALLER}
        client.delete(f"{base}/api/keys/{key['id']}").raise_for_status()


def test_who_comes_past_the_proxy_is_not_believed(service: Service) -> None:
    """From an address that is no proxy's, the header counts for nothing."""
    verify = ssl.create_default_context(cafile=str(service.data_dir / "tls" / "cert.pem"))
    with httpx.Client(
        base_url=service.base_url,
        headers={"X-API-Key": service.api_key, "X-Forwarded-For": FORGED},
        transport=httpx.HTTPTransport(verify=verify, local_address=OTHER, trust_env=False),
    ) as client:
        key = client.post("/api/keys", json={"name": "me"}).raise_for_status().json()
        assert addresses(service, key["id"]) == {OTHER}
        client.delete(f"/api/keys/{key['id']}").raise_for_status()


def test_one_who_guesses_keys_locks_out_nobody_else(service: Service, nginx: Nginx, base: str) -> None:
    """The limit on wrong keys is that of the caller, and no forged header gives another one."""
    statuses = []
    with ExitStack() as clients:
        for number in range(GUESSES + 1):
            forged = f"203.0.113.{number}"
            guesser = clients.enter_context(caller(service, nginx, CALLER, "wrong" * 4, X_Forwarded_For=forged))
            statuses.append(guesser.get(f"{base}/api/keys").status_code)
        assert statuses == [401] * GUESSES + [429]
        other = clients.enter_context(caller(service, nginx, OTHER, "wrong" * 4))
        assert other.get(f"{base}/api/keys").status_code == httpx.codes.UNAUTHORIZED


def test_addresses_and_redirects_stay_inside(service: Service, nginx: Nginx, base: str) -> None:
    """The subscription's address leads through nginx, and so does every redirect."""
    with caller(service, nginx, CALLER) as client:
        key = client.post(f"{base}/api/keys", json={"name": "me"}).raise_for_status().json()
        url = client.post(f"{base}/api/keys/{key['id']}/subscription").raise_for_status().json()["url"]
        assert url.startswith(f"{base}/sub/")
        assert key["uuid"] in client.get(url, params={"format": "link"}).raise_for_status().text
        for path, accept in (("", "text/html"), ("/", "text/html"), ("/ui", "*/*"), ("/docs/", "*/*")):
            answer = client.get(f"{base}{path}", headers={"Accept": accept})
            assert answer.is_redirect, path
            assert urljoin(f"{base}{path}", answer.headers["location"]).startswith(f"{base}/"), path
        assert client.get(f"{base}/").json()["status"] == "running"
        assert client.get(f"{base}/openapi.json").json()["servers"] == [{"url": base}]
        client.delete(f"{base}/api/keys/{key['id']}").raise_for_status()


def test_the_prefix_may_be_passed_on(service: Service) -> None:
    """A proxy that leaves the path as it is gets the same."""
    assert service.client.get(f"{PREFIX}/api/").json() == service.client.get("/api/").json()
    assert service.client.get(PREFIX, follow_redirects=False).headers["location"] == f".{PREFIX}/"


def test_events_are_not_held_back(service: Service, nginx: Nginx, base: str) -> None:
    """The first ones come while the stream is open."""
    with caller(service, nginx, CALLER) as client, client.stream("GET", f"{base}/api/events") as stream:
        first = next(line for line in stream.iter_lines() if line.startswith("event:"))
    assert first in {"event: health", "event: keys", "event: traffic"}


def test_the_dashboard_works_below_the_prefix(service: Service, nginx: Nginx, browser: Browser, base: str) -> None:
    """Signing in, a key that another makes, its QR code, and the description of the API; nothing outside is asked."""
    with Visitor(browser, base) as visitor:
        visitor.sign_in(service.api_key)
        key = service.client.post("/api/keys", json={"name": "through nginx"}).raise_for_status().json()
        expect(visitor.page.get_by_text("through nginx").first).to_be_visible()
        visitor.go(f"#/keys/{key['id']}")
        expect(visitor.page.locator("h1", has_text="through nginx")).to_be_visible()
        visitor.page.goto(f"{base}/docs")
        expect(
            visitor.page.get_by_text("Try it out").or_(visitor.page.get_by_text("VPN Key Management API")).first
        ).to_be_visible()
        assert f"{base}/openapi.json" in visitor.requests
        outside = [url for url in visitor.requests if not urlsplit(url).path.startswith(f"{PREFIX}/")]
        assert outside == []
        visitor.check()
    service.client.delete(f"/api/keys/{key['id']}").raise_for_status()
