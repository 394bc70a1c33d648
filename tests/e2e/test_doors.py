"""Old links of another panel go on through a door, and end with their keys or when the door is closed."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import SERVER_NAMES
from tests.e2e.test_moving import Move, fingerprints, links_in
from tests.support.clients import Client, XrayClient
from tests.support.keys import carries
from tests.support.link import VlessLink
from tests.support.ports import free_port, is_free
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.socks import Address
from tests.support.streams import ByteServer, TransferError, transfer
from tests.support.target import RealityTarget
from tests.support.three_x_ui import XuiClient, XuiDatabase, XuiInbound

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite]

BYTES = 100_003
ELSEWHERE = "203.0.113.5"  # of no host, RFC 5737
NAMES = ("stays", "counts", "disabled", "deleted", "expires", "used up", "rotates", "slowed", "locals", "sends quic")
FLOWS = {"sends quic": "xtls-rprx-vision-udp443", "direct": "xtls-rprx-direct", "none": "none"}
"""Flows of the panel that are none of an inbound of this Xray; it refuses each."""


@pytest.fixture(scope="module")
def moved(
    client_type: type[Client],
    target: RealityTarget,
    egress: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Move]:
    """The move with old links kept: panel off, import, server on."""
    clients = [
        XuiClient(name, 1_000, 1, more={"flow": FLOWS[name]} if name in FLOWS else {})
        for name in dict.fromkeys((*NAMES, *FLOWS))
    ]
    inbound = XuiInbound(
        clients, free_port(), server_names=SERVER_NAMES, target=target.address, short_ids=("5f9c2b7adfe7d8ab", "")
    )
    of_another_host = XuiInbound(
        [XuiClient("moved here")],
        free_port(),
        server_names=SERVER_NAMES,
        target=target.address,
        columns={"listen": ELSEWHERE},
    )
    down = XuiInbound(
        [XuiClient("target down")], free_port(), server_names=SERVER_NAMES, target=f"127.0.0.1:{free_port()}"
    )
    inbounds = [inbound, of_another_host, down]
    panel = XuiDatabase(tmp_path_factory.mktemp("doors") / "x-ui.db", inbounds, "3.6").write()
    move = Move(panel, Service(target, egress_allow=egress))
    try:
        status, answer = move.run("--keep-old-links", "--links", str(_links(move)), "--old-host", "127.0.0.1")
        assert (status, answer["status"], len(answer["doors"])) == (0, "imported", 3)
        assert any(ELSEWHERE in note and "no address of this host" in note for note in answer["notes"])
        left = {one["what"]: one["why"] for one in answer["left_out"]}
        assert left.keys() == FLOWS.keys() - {*NAMES}
        assert all("has no flow" in why for why in left.values())
        before = fingerprints(move.service.data_dir)
        assert move.run("--keep-old-links")[1]["status"] == "nothing_to_do"
        assert fingerprints(move.service.data_dir) == before
        _add_broken_doors(move, inbound.port)
        move.service.start()
        move.service.wait_ready()
        yield move
    finally:
        move.service.close()


def _add_broken_doors(move: Move, port: int) -> None:
    """Add doors like that on a port, as a backup may have them: with another host's address, and unfit for Xray."""
    broken = {"elsewhere": {"listen": ELSEWHERE}, "refused": {"target": ""}}
    with closing(sqlite3.connect(move.service.data_dir / "vpnkeys.db")) as database, database:
        for tag, columns in broken.items():
            database.execute("CREATE TEMP TABLE door AS SELECT * FROM doors WHERE port = ?", [port])
            for name, value in {"tag": f"vpnkeys-door-{tag}", "port": free_port(), **columns}.items():
                database.execute(f"UPDATE door SET {name} = ?", [value])  # noqa: S608 - from above
            database.execute("INSERT INTO doors SELECT * FROM door")
            database.execute("DROP TABLE door")


def door_of(move: Move, port: int) -> Any:  # noqa: ANN401 - JSON
    """The door on a port."""
    (found,) = [one for one in move.service.client.get("/api/doors").raise_for_status().json() if one["port"] == port]
    return found


def _links(move: Move) -> Path:
    return move.panel.path.with_name("links.csv")


def link(move: Move, name: str, *, new: bool = False) -> VlessLink:
    """A customer's old or new link."""
    (customer,) = [one for inbound in move.panel.inbounds for one in inbound.clients if one.email == name]
    return VlessLink.parse(links_in(_links(move))[customer.uuid][new])


def change(move: Move, name: str, **fields: object) -> None:
    """Change a customer's key."""
    move.service.client.patch(f"/api/keys/{link(move, name).uuid}", json=fields).raise_for_status()


@contextmanager
def online(
    link: VlessLink, source: str, client_type: type[Client], server: ByteServer
) -> Iterator[tuple[Address, socket.socket]]:
    """A customer with a connection that has carried bytes, and his proxy."""
    with client_type(link, source=source) as client, server.open(client.socks) as sock:
        transfer(sock, BYTES, BYTES)
        yield client.socks, sock


def is_synced(move: Move) -> bool:
    """Whether database, config.json and Xray agree, as the server sees it."""
    answer = move.service.client.get("/api/system/xray/validate-sync").raise_for_status().json()["validation"]
    ports = move.service.client.get("/api/system/ports/status").raise_for_status().json()["validation"]
    return bool(answer["synced"] and answer["runtime"]["synced"]) and ports["issues"] == []


def is_open(sock: socket.socket) -> bool:
    """Whether bytes still get through."""
    try:
        transfer(sock, 1_000, 1_000)
    except (OSError, TransferError):
        return False
    return True


def test_an_old_link_counts_on_its_key(moved: Move, client_type: type[Client], byte_server: ByteServer) -> None:
    """What it carries comes on top of what the customer had used at the panel."""
    old = link(moved, "counts")
    url = f"/api/keys/{old.uuid}/traffic"
    with (
        online(old, "127.0.0.2", client_type, byte_server),
        online(link(moved, "counts", new=True), "127.0.0.2", client_type, byte_server),
    ):
        pass
    assert wait_until(
        lambda: (
            4 * BYTES
            <= moved.service.client.get(url).raise_for_status().json()["total_bytes"] - 1_001
            < 4 * BYTES + 20_000
        )
    )
    door = door_of(moved, old.port)
    assert (door["imported_keys"], door["state"], door["problem"]) == (len(NAMES), "open", "")


def test_a_door_of_another_host_listens_here(moved: Move, client_type: type[Client], byte_server: ByteServer) -> None:
    """Where the keys do, when its own address is none of this host."""
    old = replace(link(moved, "moved here"), host="127.0.0.1")
    with online(old, "127.0.0.2", client_type, byte_server):
        assert door_of(moved, old.port)["state"] == "open"


def test_a_door_that_cannot_work_is_named_and_stops_nothing(moved: Move) -> None:
    """It is in neither config.json nor Xray, all else works, and it can be closed."""
    states = {one["tag"]: one for one in moved.service.client.get("/api/doors").raise_for_status().json()}
    elsewhere, refused = states["vpnkeys-door-elsewhere"], states["vpnkeys-door-refused"]
    assert (elsewhere["state"], elsewhere["problem"]) == ("closed", "its address is none of this host's")
    assert (refused["state"], refused["problem"]) == ("closed", "Xray refuses it")
    assert "left out: Xray refuses config.json" in moved.service.log()
    health = moved.service.client.get("/health").json()
    problems = {one["code"]: one["detail"] for one in health["problems"]}
    assert problems.keys() == {"door_closed", "target_down"}
    assert all(f"port {one['port']}: {one['problem']}" in problems["door_closed"] for one in (elsewhere, refused))
    config = (moved.service.data_dir / "config.json").read_text(encoding="utf-8")
    assert [one["tag"] in config for one in states.values()].count(True) == len(states) - 2
    for one in (elsewhere, refused):
        assert one["tag"] not in config
        done = moved.service.cli("import", "close-door", one["tag"], "--yes")
        assert (done.returncode, done.stderr) == (0, "")
    assert is_synced(moved)


def test_a_door_whose_target_is_down_is_named(moved: Move, byte_server: ByteServer) -> None:
    """Nobody gets in by it, although it listens."""
    old = link(moved, "target down")
    with XrayClient(old, source="127.0.0.2") as client:
        assert not carries(client.socks, byte_server, timeout=3)
    door = door_of(moved, old.port)
    assert (door["state"], door["keys"]) == ("target_down", 0)
    assert "cannot be reached" in door["problem"]
    problems = moved.service.client.get("/health").json()["problems"]
    assert [one["detail"] for one in problems if "doors: 1" in one["detail"]]


def test_an_old_link_may_have_the_flow_of_a_client(moved: Move, byte_server: ByteServer) -> None:
    """One that sends QUIC as well has Vision on the wire; only Xray's own client knows it."""
    old = replace(link(moved, "sends quic"), flow=FLOWS["sends quic"])
    with online(old, "127.0.0.2", XrayClient, byte_server):
        pass


def _delete(move: Move, name: str) -> None:
    move.service.client.delete(f"/api/keys/{link(move, name).uuid}").raise_for_status()


def _rotate(move: Move, name: str) -> None:
    move.service.client.post(f"/api/keys/{link(move, name).uuid}/rotate", json={"uuid": True}).raise_for_status()


def _in_a_second() -> str:
    return (datetime.now(UTC) + timedelta(seconds=1)).isoformat()


STOPS: dict[str, Callable[[Move], None]] = {
    "disabled": lambda move: change(move, "disabled", is_active=False),
    "deleted": lambda move: _delete(move, "deleted"),
    "expires": lambda move: change(move, "expires", expires_at=_in_a_second()),
    "used up": lambda move: change(move, "used up", traffic_limit_bytes=BYTES),
    "rotates": lambda move: _rotate(move, "rotates"),
    "slowed": lambda move: change(move, "slowed", speed_limit_mbps=100),
}


@pytest.mark.parametrize("name", STOPS)
def test_a_stop_holds_at_the_door(moved: Move, name: str, client_type: type[Client], byte_server: ByteServer) -> None:
    """The old link is out and its connection is cut; that of another customer goes on."""
    with (
        online(link(moved, name), "127.0.0.2", client_type, byte_server) as (proxy, stopped),
        online(link(moved, "stays"), "127.0.0.3", client_type, byte_server) as (other, going_on),
    ):
        STOPS[name](moved)
        assert wait_until(lambda: not is_open(stopped))
        assert wait_until(lambda: not carries(proxy, byte_server, timeout=3))
        assert is_open(going_on)
        assert carries(other, byte_server)
    assert is_synced(moved)


def test_a_stop_ends_what_comes_from_this_host(moved: Move, client_type: type[Client], byte_server: ByteServer) -> None:
    """Xray does not say who is on line from 127.0.0.1, where a proxy of this host comes from."""
    with online(link(moved, "locals"), "127.0.0.1", client_type, byte_server) as (proxy, stopped):
        change(moved, "locals", is_active=False)
        assert not is_open(stopped)
        assert not carries(proxy, byte_server, timeout=3)
        change(moved, "locals", is_active=True)
        assert carries(proxy, byte_server)


def test_a_door_outlives_a_restart_and_ends_when_it_is_closed(
    moved: Move, client_type: type[Client], byte_server: ByteServer
) -> None:
    """Then the old link is out, also over a restart, and the new one goes on."""
    old, new = link(moved, "stays"), link(moved, "stays", new=True)
    moved.service.stop()
    moved.service.start()
    moved.service.wait_ready()
    with client_type(new) as other, online(old, "127.0.0.2", client_type, byte_server) as (proxy, sock):
        door = door_of(moved, old.port)
        done = moved.service.cli("import", "close-door", door["tag"], "--yes")
        assert (done.returncode, done.stderr) == (0, "")
        assert not is_open(sock)
        assert not carries(proxy, byte_server, timeout=3)
        assert carries(other.socks, byte_server)
    assert is_free(old.port)
    assert door["tag"] not in {one["tag"] for one in moved.service.client.get("/api/doors").json()}
    assert moved.service.client.delete(f"/api/doors/{door['tag']}").status_code == 404
    assert is_synced(moved)
