"""Where customers cannot get to: judged at the blocked places themselves, by what arrives there."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.clients import Client, SingBoxClient, XrayClient
from tests.support.egress import BLOCKED, LISTENING, MOVING, NOT_ADDRESSES, Scene, in_a_guest, on_this_host
from tests.support.process import wait_until
from tests.support.room import (
    FAR4,
    FAR6,
    LINK_LOCAL,
    METADATA,
    PRIVATE4,
    PUBLIC4,
    Listener,
    Room,
    can_make_rooms,
    settle,
)
from tests.support.rootfs import NoGuestError
from tests.support.service import Service
from tests.support.socks import Address, SocksError, connect, udp_associate
from tests.support.target import RealityTarget

from vpnkeys.xray.host.guard import table_of

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not can_make_rooms(), reason="needs root, ip and nft for a network of its own"),
]

_SCENES = [
    "guarded",
    "unguarded",
    pytest.param("guest", marks=[pytest.mark.soak, pytest.mark.timeout(1800)]),
]


@pytest.fixture(scope="module", params=_SCENES)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Set the scene: with the kernel's guard, without it, and as it is installed on a machine that was booted."""
    if request.param != "guest":
        directory = tmp_path_factory.mktemp("room")
        with on_this_host(directory, is_guarded=request.param == "guarded") as scene:
            yield scene
        return
    try:
        with in_a_guest() as scene:
            yield scene
    except NoGuestError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def clients(scene: Scene) -> Iterator[dict[str, Client]]:
    """A customer with either program."""
    with XrayClient(scene.link) as xray, SingBoxClient(scene.link) as sing_box:
        yield {"XrayClient": xray, "SingBoxClient": sing_box}


@pytest.fixture(params=["XrayClient", "SingBoxClient"])
def client(request: pytest.FixtureRequest, clients: dict[str, Client]) -> Client:
    """Be a customer, with either program."""
    return clients[request.param]


@pytest.fixture(autouse=True)
def _forget(request: pytest.FixtureRequest) -> None:
    if "scene" in request.fixturenames:
        scene = request.getfixturevalue("scene")
        for listener in (scene.blocked, scene.allowed, scene.far):
            listener.arrived.clear()
            listener.senders.clear()


def _answers_tcp(proxy: Address, host: str, port: int, timeout: float = 3.0) -> bool:
    """Whether bytes come back from there."""
    try:
        with connect(proxy, host, port, timeout) as sock:
            sock.sendall(b"hello")
            return sock.recv(5) == b"hello"
    except OSError:
        return False


def _answers_udp(proxy: Address, host: str, port: int) -> bool:
    """Whether a datagram comes back from there."""
    try:
        with udp_associate(proxy) as association:
            association.sendto(b"hello", (host, port))
            return association.recvfrom(0.3)[0] == b"hello"
    except (TimeoutError, SocksError):
        return False


def _who_answers(answers: Callable[[Address, str, int], bool], proxy: Address, port: int, *hosts: str) -> list[str]:
    """Those from which something comes back, all asked side by side."""
    with ThreadPoolExecutor(len(hosts)) as pool:
        found = pool.map(lambda host: answers(proxy, host, port), hosts)
        return [host for host, is_there in zip(hosts, found, strict=True) if is_there]


def test_the_listeners_can_be_reached(scene: Scene) -> None:
    """Without the VPN every blocked place answers: that nothing arrives there means something."""
    for host in (host for host in LISTENING if host != LINK_LOCAL):
        with socket.create_connection((host, scene.blocked.port), 2):
            pass
    assert wait_until(lambda: len(scene.blocked.arrived) == len(LISTENING) - 1)


def test_tcp_arrives_nowhere_inside(scene: Scene, client: Client) -> None:
    """No TCP connection gets to a private place, whatever it is called."""
    assert _who_answers(_answers_tcp, client.socks, scene.blocked.port, *BLOCKED, *NOT_ADDRESSES) == []
    settle()
    assert scene.blocked.arrived == []
    assert _answers_tcp(client.socks, FAR4, scene.far.port)
    assert _answers_tcp(client.socks, FAR6, scene.far.port)


def test_udp_arrives_nowhere_inside(scene: Scene, client: Client) -> None:
    """No datagram gets to a private place as the first of its session."""
    assert _who_answers(_answers_udp, client.socks, scene.blocked.port, *BLOCKED) == []
    settle()
    assert scene.blocked.arrived == []
    assert _answers_udp(client.socks, FAR4, scene.far.port)
    assert _answers_udp(client.socks, FAR6, scene.far.port)


@pytest.mark.parametrize("first", ["far", "allowed"])
def test_later_datagrams_arrive_nowhere_inside(scene: Scene, client: Client, first: str) -> None:
    """A UDP session that began at a good place gets to no private one later."""
    good = (FAR4, scene.far.port) if first == "far" else ("127.0.0.1", scene.allowed.port)
    with udp_associate(client.socks) as association:
        association.sendto(b"begin", good)
        assert association.recvfrom()[0] == b"begin"
        for host in BLOCKED:
            association.sendto(b"inside", (host, scene.blocked.port))
            association.sendto(b"inside", (host, scene.blocked.port))
        settle()
    assert scene.blocked.arrived == []


def test_one_session_with_many_peers(scene: Scene, client: Client) -> None:
    """With the guard one UDP session talks to all good peers from one port, also after a bad one; else to the first."""
    peers = [(FAR4, scene.far.port), ("127.0.0.1", scene.allowed.port), ("127.0.0.2", scene.allowed.port)]
    with udp_associate(client.socks) as association:
        association.sendto(b"begin", peers[0])
        assert association.recvfrom()[0] == b"begin"
        for number, peer in enumerate(peers * 2):
            association.sendto(b"inside", (PRIVATE4, scene.blocked.port))
            data = b"good %d" % number
            association.sendto(data, peer)
            wait_until(lambda data=data: any(d == data for _, _, d in scene.far.arrived + scene.allowed.arrived), 1)  # type: ignore[misc]
        settle()
    came = {host for _, host, _ in scene.allowed.arrived}
    ports = {port for _, port in scene.far.senders | scene.allowed.senders}
    assert came == ({"127.0.0.1", "127.0.0.2"} if scene.is_guarded else set())
    assert len(ports) == 1
    assert scene.blocked.arrived == []


def test_a_name_that_changes_its_mind(scene: Scene, client: Client) -> None:
    """A name that shows a public address first and a private one later leads nowhere inside, with the guard or not."""

    def ask_again_and_again(name: str) -> None:
        for _ in range(3):
            _answers_tcp(client.socks, name, scene.blocked.port)
            _answers_udp(client.socks, name, scene.blocked.port)

    with ThreadPoolExecutor(len(MOVING)) as pool:
        list(pool.map(ask_again_and_again, MOVING))
    settle()
    assert {FAR4, "127.0.0.1", "::1", PRIVATE4, METADATA, PUBLIC4} <= set(scene.names.given)
    assert scene.blocked.arrived == []
    assert _answers_tcp(client.socks, "far.test", scene.far.port)
    assert _answers_udp(client.socks, "far.test", scene.far.port)


def test_the_allow_list_opens_what_it_names(scene: Scene, client: Client) -> None:
    """An allowed address and port is open by TCP and UDP; its other ports and its neighbours are not."""
    assert _answers_tcp(client.socks, "127.0.0.1", scene.allowed.port)
    assert _answers_udp(client.socks, "127.0.0.1", scene.allowed.port)
    with Listener(["127.0.0.3"], scene.allowed.port) as neighbour:
        assert not _answers_tcp(client.socks, "127.0.0.3", neighbour.port)
        assert not _answers_udp(client.socks, "127.0.0.3", neighbour.port)
        assert neighbour.arrived == []


def test_the_panel_through_the_vpn(scene: Scene, client: Client) -> None:
    """The API answers on the server's public address through the VPN, and on no private one."""
    port = scene.api_port
    assert _opens_tls(client.socks, PUBLIC4, port)
    for host in ("127.0.0.1", PRIVATE4, "localhost"):
        assert not _opens_tls(client.socks, host, port), host


def _opens_tls(proxy: Address, host: str, port: int) -> bool:
    """Whether a TLS server is there."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with connect(proxy, host, port, 3) as sock, context.wrap_socket(sock):
            return True
    except OSError:
        return False


def test_the_api_of_xray_is_out_of_reach(scene: Scene, client: Client) -> None:
    """Xray's API is a socket in the file system: no name or address leads there, and no TCP port belongs to it."""
    path = scene.xray_socket
    assert scene.kind_of(path) == "socket 600"
    assert _who_answers(_answers_tcp, client.socks, 1, str(path), f"unix:{path}", f"@{path}", "127.0.0.1") == []
    assert not _answers_tcp(client.socks, "127.0.0.1", 10085)


def test_health_tells_what_udp_can(scene: Scene) -> None:
    """`/health` says whether one UDP session may talk to many peers; the log says once what to do about it."""
    health = scene.api.get("/health").json()
    assert health["udp_full_cone"] == ("available" if scene.is_guarded else "unavailable")
    assert ("guard_not_kept" in {problem["code"] for problem in health["problems"]}) == (not scene.is_guarded)
    assert scene.log().count("the kernel cannot guard") == (0 if scene.is_guarded else 1)


def _has_table(service: Service) -> bool:
    listed = subprocess.run(["nft", "list", "tables"], check=True, capture_output=True, text=True)
    return table_of(service.data_dir) in listed.stdout


def test_the_table_lives_as_long_as_the_server() -> None:
    """The table is put back when somebody flushes all rules, survives kill -9 harmlessly, and goes with the server."""
    with Room(), RealityTarget(["site.test"]) as target, Service(target) as service:
        assert _has_table(service)
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        assert wait_until(lambda: _has_table(service))
        assert wait_until(lambda: "another program changed or removed" in service.log())
        service.kill()
        assert _has_table(service)
        service.start()
        assert _has_table(service)
        assert service.stop() == 0
        assert not _has_table(service)
