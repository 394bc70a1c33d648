"""A server with a domain on the usual port, in a network of its own: certificate, both protocols, plain requests."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx
import pytest
from tests.support.acme import Pebble
from tests.support.ports import free_port
from tests.support.process import wait_until
from tests.support.room import PUBLIC4, PUBLIC6, Room, can_make_rooms
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not can_make_rooms(), reason="needs root, ip and nft for a network of its own"),
]

DOMAIN = "vpn.example.com"
NAMES = ("one.example.com", "two.example.com")
_HTTPS = 443


class Site(Service):
    """A service on port 443 of every address. Its own clients trust it whatever certificate it has."""

    def new_client(self, api_key: str | None = None, timeout: float = 60.0) -> httpx.Client:
        """One more client."""
        headers = {"X-API-Key": self.api_key if api_key is None else api_key}
        return httpx.Client(base_url=self.base_url, headers=headers, verify=False, timeout=timeout, trust_env=False)  # noqa: S501


@pytest.fixture(scope="module")
def room() -> Iterator[None]:
    """A network in which port 443 is free."""
    with Room():
        yield


@pytest.fixture(scope="module")
def pebble(room: None) -> Iterator[Pebble]:
    """An authority that finds the name here. A check by HTTP would come to a port where nobody listens."""
    with Pebble(free_port(), _HTTPS, address=PUBLIC4) as pebble:
        yield pebble


@pytest.fixture(scope="module")
def site(pebble: Pebble) -> Iterator[Site]:
    """The server; it is up before its certificate is."""
    settings = {
        "VPNKEYS_LISTEN": f"[::]:{_HTTPS}",
        "VPNKEYS_SERVER_ADDRESS": None,
        "VPNKEYS_DOMAIN": DOMAIN,
        "VPNKEYS_ACME_DIRECTORY": pebble.directory_url,
        "VPNKEYS_ACME_CA_FILE": str(pebble.ca_file),
    }
    with RealityTarget(NAMES, close_idle_s=0.1) as target:
        site = Site(target, settings=settings)
        site.address = ("127.0.0.1", _HTTPS)
        with site:
            yield site


def handshake(address: str, root: str) -> str:
    """What a client that trusts only this authority gets at an address when it asks for the domain."""
    context = ssl.create_default_context(cadata=root)
    try:
        with (
            socket.create_connection((address, _HTTPS), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname=DOMAIN) as tls,
        ):
            return str(tls.version())
    except ssl.SSLCertVerificationError:
        return "untrusted"


def test_the_certificate_is_issued_on_the_port_of_the_api(site: Site, pebble: Pebble) -> None:
    """By a check inside TLS, without a restart, for clients by IPv4 and by IPv6."""
    root = pebble.root()
    assert wait_until(lambda: handshake(PUBLIC4, root) == "TLSv1.3"), site.log()
    assert handshake(PUBLIC6, root) == "TLSv1.3"
    problems = site.client.get("/health").json()["problems"]
    assert "certificate_renewal" not in {problem["code"] for problem in problems}


def test_addresses_have_the_domain(site: Site) -> None:
    """The link, the subscription, and no port where it is the usual one."""
    site.wait_ready()
    key = site.client.post("/api/keys", json={"name": "me"}).raise_for_status().json()
    link = site.client.get(f"/api/keys/{key['id']}/config").json()["vless_url"]
    assert f"@{DOMAIN}:{key['port']}?" in link
    made = site.client.post(f"/api/keys/{key['id']}/subscription").raise_for_status().json()
    assert made["url"].startswith(f"https://{DOMAIN}/sub/")


@pytest.mark.parametrize("address", [PUBLIC4, PUBLIC6])
def test_a_request_without_tls_is_redirected(site: Site, address: str) -> None:
    """To the same host and path by https; what names no host is told what this port speaks."""
    with socket.create_connection((address, _HTTPS), timeout=60) as plain:
        plain.sendall(f"GET /ui/?x=1 HTTP/1.1\r\nHost: {DOMAIN}:{_HTTPS}\r\n\r\n".encode())
        answer = plain.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 308 ")
    assert f"\r\nLocation: https://{DOMAIN}:{_HTTPS}/ui/?x=1\r\n" in answer
    with socket.create_connection((address, _HTTPS), timeout=60) as plain:
        plain.sendall(b"POST http://elsewhere.example.com/ HTTP/1.0\r\n\r\n")
        answer = plain.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 400 ")
    assert "speaks HTTPS" in answer


def test_a_browser_is_led_to_the_dashboard(site: Site) -> None:
    """Programs get the same JSON as ever."""
    assert site.client.get("/", headers={"Accept": "text/html,*/*;q=0.8"}).headers["location"] == "./ui/"
    assert site.client.get("/").json()["status"] == "running"
    assert site.client.get("/api/", headers={"Accept": "text/html"}).json()["status"] == "running"
