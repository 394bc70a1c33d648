"""What a subscription serves is imported by each format's own client as it comes, and moves bytes."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from tests.support import mihomo
from tests.support.binaries import OLD_SING_BOX_VERSION, SING_BOX_VERSION, sing_box_binary
from tests.support.clients import Config, SingBoxClient, XrayClient
from tests.support.keys import Key, carries, make_key
from tests.support.link import VlessLink
from tests.support.process import ChildProcess
from tests.support.room import PUBLIC4, Listener, Room, can_make_rooms
from tests.support.service import Service
from tests.support.socks import Address
from tests.support.streams import ByteServer, TransferError, transfer
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

UP_BYTES, DOWN_BYTES = 200_003, 500_009
APP = "SFA/1.12.0 (Build 1; sing-box 1.12.0)"
BEYOND = "203.0.113.77"
"""Beyond the server, and on no network of the customer's own."""

VERSIONS = (SING_BOX_VERSION, OLD_SING_BOX_VERSION)
"""Of sing-box: one for each form."""

NAMES = ("me", "Ключ 🦄 <b>\"x\"</b> & 'y'")


class AsServed(SingBoxClient):
    """sing-box on a configuration exactly as it was served, but for the port that it listens on."""

    def __init__(self, served: Config, link: VlessLink, version: str = SING_BOX_VERSION) -> None:
        super().__init__(link)
        self._served = served
        self._version = version

    def _command(self, config_file: Path) -> list[str]:
        return [str(sing_box_binary(self._version)), "run", "-c", str(config_file)]

    def config(self) -> Config:
        """What was served."""
        (inbound,) = self._served["inbounds"]
        return {**self._served, "inbounds": [{**inbound, "listen_port": self.socks[1]}]}


@pytest.fixture(scope="module", params=NAMES, ids=["plain", "odd"])
def key(request: pytest.FixtureRequest, service: Service) -> Key:
    """A key."""
    return make_key(service, request.param)


@pytest.fixture(scope="module")
def subscription(service: Service, key: Key) -> str:
    """The address that its customer was given."""
    url: str = service.client.post(f"/api/keys/{key['id']}/subscription").raise_for_status().json()["url"]
    return url


@pytest.fixture
def servers(byte_server: ByteServer, tls_byte_server: ByteServer) -> tuple[ByteServer, ...]:
    """What customers read from, plain and by TLS."""
    return byte_server, tls_byte_server


@pytest.fixture(scope="module")
def several(service: Service, key: Key) -> str:
    """The address of a customer with two keys, one of which has ended."""
    ended = make_key(service, "ended")
    service.client.patch(f"/api/keys/{ended['id']}", json={"is_active": False}).raise_for_status()
    made = service.client.post("/api/subscriptions", json={"keys": [ended["id"], key["id"]]})
    url: str = made.raise_for_status().json()["url"]
    return url


def imported(body: str) -> list[dict[str, Any]]:
    """The profiles that v2rayNG makes of a subscription's answer: it decodes base64 or takes the text as it is.

    A line without a query is none, and neither is one with a parameter that has no "=".
    """
    try:
        text = base64.b64decode(body, validate=True).decode()
    except ValueError:
        text = body
    found = []
    for line in dict.fromkeys(text.splitlines()):
        uri = urlsplit(line)
        pairs = [pair.split("=") for pair in uri.query.split("&")]
        if uri.scheme != "vless" or any(len(pair) != 2 for pair in pairs):
            continue
        query = {name: unquote(value) for name, value in pairs}
        security = query.get("security", "")
        found.append(
            {
                "remarks": unquote(uri.fragment) or "none",
                "server": uri.hostname,
                "port": uri.port or -1,
                "password": uri.username,
                "security": security if security in {"tls", "reality"} else "",
            }
        )
    return found


def fetch(service: Service, url: str, user_agent: str) -> httpx.Response:
    """What a client of this name gets."""
    with service.new_client(api_key="") as client:
        return client.get(url, headers={"User-Agent": user_agent}).raise_for_status()


def listed(service: Service, url: str) -> VlessLink:
    """The first link of the list, which works."""
    (link, *_) = base64.b64decode(fetch(service, url, "v2rayN/7.0").content, validate=True).decode().splitlines()
    return VlessLink.parse(link)


def moves_bytes(proxy: Address, server: ByteServer) -> None:
    """Known bytes, both ways.

    As a browser does, twice more where a client's Vision has cut a record of TLS in two (SagerNet/sing-box issue 401).
    """
    for is_last in (False, False, True):
        try:
            with server.open(proxy) as sock:
                moved = transfer(sock, UP_BYTES, DOWN_BYTES)
            assert (moved.up_bytes, moved.down_bytes) == (UP_BYTES, DOWN_BYTES)
        except ssl.SSLError:
            if is_last:
                raise
        else:
            return


def used_bytes(service: Service, url: str) -> int:
    """What the header says."""
    info = fetch(service, url, "v2rayN/7.0").headers["subscription-userinfo"]
    fields = dict(field.strip().split("=") for field in info.split(";"))
    return int(fields["upload"]) + int(fields["download"])


@pytest.mark.parametrize("version", VERSIONS)
def test_sing_box_runs_it_as_it_comes(
    service: Service, key: Key, subscription: str, servers: tuple[ByteServer, ...], version: str
) -> None:
    """The JSON is its whole configuration; everything goes by this key, and is told of afterwards."""
    before = used_bytes(service, subscription)
    served = fetch(service, subscription, f"sing-box {version}").json()
    with AsServed(served, listed(service, subscription), version) as client:
        for server in servers:
            moves_bytes(client.socks, server)
        assert "deprecated" not in client.log()
    service.client.get(f"/api/keys/{key['id']}/traffic").raise_for_status()
    assert used_bytes(service, subscription) - before >= 2 * (UP_BYTES + DOWN_BYTES)


@pytest.mark.parametrize("version", VERSIONS)
def test_sing_box_takes_what_its_apps_get(
    service: Service, subscription: str, several: str, tmp_path: Path, version: str
) -> None:
    """With a TUN device, which it needs no right to check; also of several keys, one of which has ended."""
    app = f"SFI/{version} (Build 2; sing-box {version}; language en_US)"
    for url in (subscription, several):
        served = fetch(service, url, app)
        assert served.json()["inbounds"][0]["type"] == "tun"
        check(served.text, tmp_path, version)


def test_each_version_is_refused_the_form_of_the_other(service: Service, subscription: str, tmp_path: Path) -> None:
    """So the choice matters: 1.11 does not read the newest form."""
    newest = fetch(service, subscription, "sing-box 1.12.12")
    path = tmp_path / "config.json"
    path.write_text(newest.text)
    command = [str(sing_box_binary(OLD_SING_BOX_VERSION)), "check", "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0


@pytest.mark.skipif(not mihomo.is_here(), reason="mihomo is not built: python -m tests.support.mihomo")
def test_mihomo_runs_it_as_it_comes(
    service: Service, subscription: str, several: str, byte_server: ByteServer, tmp_path: Path
) -> None:
    """Its own parser takes it, of one key and of several; by the one that works, bytes get through."""
    for url in (subscription, several):
        served = fetch(service, url, "clash-verge/v2.2.3")
        done = mihomo.check(served.text, tmp_path)
        assert (done.returncode, "test is successful" in done.stdout) == (0, True), done.stdout
        with mihomo.MihomoClient(served.text, listed(service, url)) as client:
            moves_bytes(client.socks, byte_server)


def test_v2rayng_imports_every_line(service: Service, subscription: str, several: str) -> None:
    """By its own rules, done again here: base64 or not, a link a line, each with an address, a port and a name."""
    one, two = (imported(fetch(service, url, "v2rayNG/1.10.5").text) for url in (subscription, several))
    assert (len(one), len(two)) == (1, 2)
    assert all(profile["remarks"] and profile["server"] and profile["port"] > 0 for profile in (*one, *two))
    assert [profile["security"] for profile in two] == ["reality", ""]
    assert two[1]["remarks"] == "⛔ ended: switched off"
    assert imported("") == []


@pytest.mark.skipif(not can_make_rooms() or not Path("/dev/net/tun").exists(), reason="needs root and a TUN device")
def test_what_its_apps_get_carries_a_whole_device(tmp_path: Path) -> None:
    """In a network of its own, a program that knows of no proxy reaches the world, and does so by this key."""
    with ExitStack() as stack:
        room = stack.enter_context(Room())
        subprocess.run(["ip", "addr", "add", f"{BEYOND}/32", "dev", "near"], check=True)
        world = stack.enter_context(Listener([BEYOND]))
        service = stack.enter_context(_reachable(stack.enter_context(RealityTarget(["site.test"])), world.port))
        service.wait_ready()
        key = make_key(service)
        url = service.client.post(f"/api/keys/{key['id']}/subscription").raise_for_status().json()["url"]
        served = fetch(service, url.replace(PUBLIC4, service.address[0]), APP)
        (tmp_path / "config.json").write_text(served.text)
        with room.far():
            subprocess.run(["ip", "route", "add", "default", "via", PUBLIC4], check=True)
        away = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{room._far}"]
        command = [*away, str(sing_box_binary()), "run", "-c", str(tmp_path / "config.json")]
        client = ChildProcess(command, name="sing-box", log_path=tmp_path / "log")
        stack.callback(client.stop)
        # The device comes first, the rules a moment later: until then all goes by, and nothing is counted.
        way_out = [*away, "ip", "route", "get", BEYOND]
        client.wait_for(
            lambda: b"dev tun0" in subprocess.run(way_out, capture_output=True, check=False).stdout, "way by the device"
        )
        with room.far(), socket.create_connection((BEYOND, world.port), 10) as sock:
            sock.sendall(b"x" * 1000)
            assert sock.recv(2000)
        traffic = service.client.get(f"/api/keys/{key['id']}/traffic").raise_for_status().json()
        assert traffic["total_bytes"] >= 1000


def _reachable(target: RealityTarget, egress_port: int) -> Service:
    """A server that the other side of a room can reach."""
    settings = {"VPNKEYS_SERVER_ADDRESS": PUBLIC4, "VPNKEYS_INBOUND_LISTEN": PUBLIC4}
    return Service(target, egress_allow=[f"{BEYOND}/32:{egress_port}"], settings=settings)


def test_xray_runs_the_link_of_the_list(
    service: Service, subscription: str, byte_server: ByteServer, tls_byte_server: ByteServer
) -> None:
    """As v2rayN and its kin do, which have Xray inside."""
    with XrayClient(listed(service, subscription)) as client:
        moves_bytes(client.socks, byte_server)
        moves_bytes(client.socks, tls_byte_server)


def test_after_a_new_port_the_same_address_gives_the_new_link(service: Service, byte_server: ByteServer) -> None:
    """That is what a subscription is for: the customer does nothing."""
    first, second = make_key(service), make_key(service)
    url = service.client.post(f"/api/keys/{second['id']}/subscription").json()["url"]
    before = listed(service, url)
    service.client.delete(f"/api/keys/{first['id']}").raise_for_status()
    service.client.post("/api/system/ports/reset").raise_for_status()
    after = listed(service, url)
    assert after.port < before.port
    with XrayClient(after) as client:
        moves_bytes(client.socks, byte_server)


def test_a_stopped_key_lets_nothing_out(service: Service, byte_server: ByteServer, tmp_path: Path) -> None:
    """sing-box runs that configuration too, and refuses what would go past the VPN, until the key is back."""
    key = make_key(service)
    url = service.client.post(f"/api/keys/{key['id']}/subscription").json()["url"]
    link = listed(service, url)
    service.client.patch(f"/api/keys/{key['id']}", json={"is_active": False}).raise_for_status()
    served = fetch(service, url, "sing-box 1.12.12")
    check(served.text, tmp_path)
    with AsServed(served.json(), link) as client, pytest.raises((OSError, TransferError)):
        moves_bytes(client.socks, byte_server)
    service.client.patch(f"/api/keys/{key['id']}", json={"is_active": True}).raise_for_status()
    with AsServed(fetch(service, url, "sing-box 1.12.12").json(), link) as client:
        assert carries(client.socks, byte_server)


def check(config: str, directory: Path, version: str = SING_BOX_VERSION) -> None:
    """Let sing-box itself look at a configuration."""
    path = directory / "config.json"
    path.write_text(config)
    done = subprocess.run([sing_box_binary(version), "check", "-c", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), json.loads(config)
