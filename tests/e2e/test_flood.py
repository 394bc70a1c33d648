"""A flood of silent connections to the keys' ports: others notice nothing, and all comes back by itself."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.support.clients import XrayClient
from tests.support.customers import undisturbed
from tests.support.flood import Flood
from tests.support.keys import Key, carries, delete_key, link_of, make_key
from tests.support.process import wait_until
from tests.support.room import PUBLIC4, Room, can_make_rooms
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.streams import ByteServer, Echo
from tests.support.target import RealityTarget

from vpnkeys.xray.host.processes import descriptors_of

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not can_make_rooms(), reason="needs root, ip and nft for a network of its own"),
]

LONGEST_STALL_S = 0.5
CREATED_WITHIN_S = 1.0
WHILE_XRAY_DIALS_S = 3.0
"""The same while Xray dials the target for each connection of a flood, and the target answers on the same two cores."""
PER_SOURCE, PER_KEY, DESCRIPTORS, MANY_DESCRIPTORS = 400, 2500, 2600, 20_000
FLOOD = 3000


@dataclass(frozen=True)
class Scene:
    """A server whose Xray has few descriptors, a customer, and far ends."""

    room: Room
    service: Service
    key: Key
    echo: Echo
    bytes: ByteServer

    def in_use(self) -> int:
        """How many descriptors Xray uses."""
        return descriptors_of(self.service.xray_pid()).used

    def may_have(self, descriptors: int) -> None:
        """Limit Xray's descriptors; the hard limit stays, so that this can be taken back."""
        pid = self.service.xray_pid()
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors, hard))

    def metric(self, name: str) -> float:
        """A number of /metrics; 0 when it is not there."""
        lines = self.service.client.get("/metrics").text.splitlines()
        return next((float(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0.0)


@pytest.fixture(scope="module", params=["kernel", "sockets"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Set the scene, with the kernel's bounds and without them."""
    with ExitStack() as stack:
        room = stack.enter_context(Room())
        target = stack.enter_context(RealityTarget(["site.test"], close_idle_s=0.1, handshake_s=300.0))
        echo, far = stack.enter_context(Echo()), stack.enter_context(ByteServer())
        service = Service(
            target,
            egress_allow=[echo.egress_rule, far.egress_rule],
            settings={
                "VPNKEYS_INBOUND_LISTEN": "0.0.0.0",  # noqa: S104 - in a network of its own
                "VPNKEYS_SERVER_ADDRESS": PUBLIC4,
                "VPNKEYS_CONNECTIONS_PER_SOURCE": str(PER_SOURCE),
                "VPNKEYS_CONNECTIONS_PER_KEY": str(PER_KEY),
            },
        )
        if request.param == "sockets":
            service.env["PATH"] = str(tmp_path_factory.mktemp("nothing-here"))
        stack.enter_context(service)
        service.wait_ready()
        scene = Scene(room, service, make_key(service, "customer"), echo, far)
        scene.may_have(DESCRIPTORS)
        yield scene


def _has_problem(service: Service, code: str) -> bool:
    return code in {problem["code"] for problem in service.client.get("/health").json()["problems"]}


@pytest.fixture
def only_kernel(scene: Scene) -> None:
    """Skip where the kernel bounds nothing."""
    if "connections_unbounded" in {
        problem["code"] for problem in scene.service.client.get("/health").json()["problems"]
    }:
        pytest.skip("surplus connections are ended only after seconds there")


def _assert_others_get_in(scene: Scene, within_s: float = CREATED_WITHIN_S) -> None:
    """A key is made in time, a client connects with it, and it goes again."""
    began = time.monotonic()
    made = scene.service.client.post("/api/keys", json={"name": "in the flood"})
    took = time.monotonic() - began
    assert made.status_code == httpx.codes.OK, made.text
    assert took <= within_s * slowness()
    with XrayClient(link_of(scene.service, made.json())) as client:
        assert carries(client.socks, scene.bytes)
    scene.service.client.delete(f"/api/keys/{made.json()['id']}").raise_for_status()


def _flood_and_recover(scene: Scene, count: int, sources: int) -> None:
    before, ended = scene.in_use(), scene.metric("vpnkeys_silent_connections_ended_total")
    with (
        undisturbed(scene.service, scene.key, scene.echo, scene.bytes, LONGEST_STALL_S * max(1.0, slowness())),
        Flood(scene.room, [scene.key["port"]], count, sources),
    ):
        _assert_others_get_in(scene)
        # The attacker still holds all of them open.
        assert wait_until(lambda: scene.in_use() < before + 100, 60)
        _assert_others_get_in(scene)
    assert scene.metric("vpnkeys_silent_connections_ended_total") > ended


@pytest.mark.usefixtures("only_kernel")
def test_a_flood_from_one_address(scene: Scene) -> None:
    """With fewer descriptors than the flood would take, keys are made, customers connect, nobody stalls."""
    refused = scene.metric("vpnkeys_connections_refused_total")
    _flood_and_recover(scene, FLOOD, 1)
    assert scene.metric("vpnkeys_connections_refused_total") - refused >= FLOOD - PER_SOURCE - 100


@pytest.mark.usefixtures("only_kernel")
def test_a_flood_of_one_key_from_many_addresses(scene: Scene) -> None:
    """None of them has more than its share: the key is full, and customers of other keys notice nothing."""
    refused, flooded = scene.metric("vpnkeys_connections_refused_total"), make_key(scene.service, "flooded")
    scene.may_have(MANY_DESCRIPTORS)
    try:
        with (
            undisturbed(scene.service, scene.key, scene.echo, scene.bytes, LONGEST_STALL_S * max(1.0, slowness())),
            Flood(scene.room, [flooded["port"]], FLOOD, FLOOD * 4 // (PER_SOURCE * 3)),
        ):
            assert scene.metric("vpnkeys_connections_refused_total") - refused >= FLOOD - PER_KEY - 100
            _assert_others_get_in(scene, WHILE_XRAY_DIALS_S)
    finally:
        scene.may_have(DESCRIPTORS)
        delete_key(scene.service, flooded)


@pytest.mark.usefixtures("only_kernel")
@pytest.mark.soak
@pytest.mark.parametrize(("count", "sources"), [(20_000, 1), (2_000, 50)])
def test_large_floods(scene: Scene, count: int, sources: int) -> None:
    """The same with the descriptors of a service, and the bound that it has by itself."""
    scene.may_have(MANY_DESCRIPTORS)
    try:
        _flood_and_recover(scene, count, sources)
    finally:
        scene.may_have(DESCRIPTORS)


def test_without_the_kernels_bound_it_is_over_soon(scene: Scene) -> None:
    """Silent connections go within seconds when descriptors run out; who is connected stays, and /health says it."""
    if not _has_problem(scene.service, "connections_unbounded"):
        pytest.skip("the kernel bounds them")
    before = scene.in_use()
    with (
        undisturbed(scene.service, scene.key, scene.echo, scene.bytes, 5.0 * slowness()),
        Flood(scene.room, [scene.key["port"]], FLOOD),
    ):
        assert wait_until(lambda: scene.metric("vpnkeys_silent_connections_ended_total") >= FLOOD // 2, 60)
        assert wait_until(lambda: scene.in_use() < before + 100, 60)
        scene.service.wait_ready()  # a test client may have met the moment without descriptors
        _assert_others_get_in(scene)


def test_what_runs_out_is_told(scene: Scene) -> None:
    """With nearly all descriptors in use /health, and so the metrics and doctor, have the problem."""

    def is_told() -> bool:
        scene.may_have(scene.in_use() + 2)  # again and again: what a flood used comes free
        return _has_problem(scene.service, "descriptors_low")

    try:
        assert wait_until(is_told)
    finally:
        scene.may_have(DESCRIPTORS)
    assert wait_until(lambda: not _has_problem(scene.service, "descriptors_low"))


def test_a_slow_hello_is_no_first_message(scene: Scene) -> None:
    """A connection that sends a byte now and then is ended as well."""
    with socket.create_connection(("127.0.0.1", scene.key["port"])) as sock:
        sock.settimeout(1.0)
        ended = False
        for _ in range(60):
            try:
                sock.sendall(b"\x16")
                ended = sock.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
            if ended:
                break
        assert ended
        assert Path(f"/proc/{scene.service.xray_pid()}").exists()
