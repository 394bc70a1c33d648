"""What is stopped is out at the door too, whatever fails meanwhile, and a door that is closed stays closed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fakes import Connection
from tests.unit.test_change import Server
from tests.unit.test_doors import DOOR, KEYS, SITE

from vpnkeys.domain.errors import DoorNotFound, NotWritten, StopPending, XrayUnavailable
from vpnkeys.domain.flow import Flow
from vpnkeys.domain.inbound import Inbound
from vpnkeys.domain.key import Key
from vpnkeys.domain.nodes.door import Door, Member
from vpnkeys.service.change.closed_doors import ClosedDoors
from vpnkeys.service.change.doors import DoorService
from vpnkeys.service.report import Reporter


class Guarded(Server):
    """A server with a door for the keys that it has."""

    def open_door(self, *keys: Key) -> Door:
        """Store a door for these, which a repair opens."""
        door = replace(DOOR, members=tuple(Member.of(key, Flow.NONE) for key in keys))
        with self.store.write() as transaction:
            transaction.nodes.put_door(door)
        self.keys.reconciler.reconcile()
        return door

    def connect_by_door(self, key: Key, address: str = "192.0.2.1") -> Connection | None:
        """What a customer with the old link gets."""
        old = replace(key, port=DOOR.port, short_id="ab", sni=DOOR.server_names[0], flow="")
        return self.node.connect(old, address)

    def inside(self, key: Key) -> Connection:
        """A customer who is connected by the old link."""
        connection = self.connect_by_door(key)
        assert connection is not None
        return connection

    @property
    def doors(self) -> DoorService:
        """The use case."""
        return DoorService(self.keys.reconciler)


@pytest.fixture
def server() -> Guarded:
    """Without keys."""
    return Guarded()


def test_a_stop_cuts_one_and_nobody_else(server: Guarded) -> None:
    """By both links; switched on again he is let in again."""
    key, other = server.make(), server.make()
    server.open_door(key, other)
    by_door, by_port, beside = server.inside(key), server.customer(key), server.inside(other)
    key = server.switch(key, on=False)
    assert (by_door.is_open, by_port.is_open, beside.is_open) == (False, False, True)
    assert server.connect_by_door(key) is None
    assert server.connect_by_door(other) is not None
    server.switch(key, on=True)
    assert server.connect_by_door(key) is not None
    assert not server.keys.reconciler.compare()[1]


@pytest.mark.parametrize("is_late", [False, True])
def test_a_stop_that_xray_does_not_answer_is_pending_until_it_is_true(server: Guarded, is_late: bool) -> None:
    """Also where Xray carries the calls out late, which cut nothing."""
    key, other = server.make(), server.make()
    server.open_door(key, other)
    by_door, beside = server.inside(key), server.inside(other)
    server.hang(is_late=is_late)
    for _ in range(2):
        with pytest.raises(StopPending):
            server.keys.delete(key.id)
    server.be_quiet()
    assert (by_door.is_open, beside.is_open) == (False, True)
    assert server.connect_by_door(key) is None
    assert server.keys.delete(key.id) == (key.id,)


def test_a_stop_is_not_said_while_a_late_call_may_open_the_door(server: Guarded) -> None:
    """A start timed out, which adds the door with others in it: their stop waits until it is over."""
    key, off = server.make(), server.make()
    server.open_door(key, off)
    server.switch(off, on=False)
    server.hang(is_late=True)
    with pytest.raises(XrayUnavailable):
        server.switch(off, on=True)
    server.node.answers = True
    with pytest.raises(StopPending):
        server.switch(key, on=False)
    server.be_quiet()
    server.switch(key, on=False)
    assert server.connect_by_door(key) is None


def test_a_file_that_cannot_be_written_keeps_nobody_in(server: Guarded) -> None:
    """The running Xray stops him at the door all the same."""
    key = server.make()
    server.open_door(key, server.make())
    by_door = server.inside(key)
    server.node.writable = False
    with pytest.raises(NotWritten):
        server.switch(key, on=False)
    assert not by_door.is_open
    assert server.connect_by_door(key) is None


def test_a_door_whose_port_is_taken_keeps_no_key_back(server: Guarded) -> None:
    """Keys start and stop; it opens when the port is free."""
    key = server.make()
    server.node.occupied.add(DOOR.port)
    server.open_door(key)
    assert [one.state for one in server.doors.list()] == ["taken"]
    (issue,) = Reporter(server.keys.reconciler, server.keys.pool).port_issues()
    assert issue == f"port {DOOR.port} of {DOOR.tag} is taken by another program"
    key = server.switch(server.switch(key, on=False), on=True)
    assert server.lets_in(key)
    assert server.connect_by_door(key) is None
    server.node.occupied.clear()
    server.be_quiet()
    assert server.connect_by_door(key) is not None
    assert [(one.state, one.keys) for one in server.doors.list()] == [("open", 1)]


def test_a_door_that_xray_refuses_keeps_no_key_back(server: Guarded) -> None:
    """No change of keys fails for it; refused again by a repair it is left out of config.json, and that is no drift."""
    key = server.make()
    server.open_door(key)
    server.node.refuses.add(DOOR.tag)
    reconciler = server.keys.reconciler
    drifts = reconciler.drifts
    key = server.switch(server.switch(key, on=False), on=True)
    assert server.lets_in(key)
    server.be_quiet()
    server.be_quiet()
    assert DOOR.tag not in server.node.file.inbounds
    assert not reconciler.compare()[1]
    assert reconciler.drifts == drifts
    assert [(one.state, one.keys, one.problem) for one in server.doors.list()] == [("closed", 0, "Xray refuses it")]
    assert not server.keys.changer.snapshot().is_free(DOOR.port)
    assert server.lets_in(server.switch(server.switch(key, on=False), on=True))
    server.doors.close(DOOR.tag)
    assert server.store.doors() == ()
    assert (reconciler.closed_doors.why, reconciler.closed_doors.ports) == ({}, {})


def test_a_door_whose_address_is_not_here_is_left_out(server: Guarded) -> None:
    """As after a restore on another host; it opens when the host has the address, and what runs goes on."""
    key, addresses = server.make(), set[str]()
    server.keys.reconciler.closed_doors.has_address = addresses.__contains__
    with server.store.write() as transaction:
        transaction.nodes.put_door(replace(DOOR, listen="203.0.113.5", members=(Member.of(key, Flow.NONE),)))
    server.keys.reconciler.reconcile()
    assert DOOR.tag not in server.node.file.inbounds
    assert [(one.state, one.problem) for one in server.doors.list()] == [
        ("closed", "its address is none of this host's")
    ]
    assert (
        f"{DOOR.tag} is closed: its address is none of this host's"
        in Reporter(server.keys.reconciler, server.keys.pool).port_issues()
    )
    addresses.add("203.0.113.5")
    server.keys.reconciler.reconcile()
    assert server.connect_by_door(key) is not None
    addresses.clear()
    server.keys.reconciler.reconcile()
    assert server.connect_by_door(key) is not None


def test_xray_tests_doors_before_it_starts_with_them() -> None:
    """All at once, and each by itself where it refuses one."""
    other = replace(DOOR, tag="vpnkeys-door-other", port=444, target="")
    asked: list[list[str]] = []

    def refusal(inbounds: tuple[Inbound, ...]) -> str:
        asked.append([one.tag for one in inbounds])
        return "no target" if any(one.reality.target == "" for one in inbounds) else ""

    doors = ClosedDoors()
    doors.refusal = refusal
    site = replace(SITE, doors=(DOOR, other))
    assert doors.tried(site, KEYS).doors == (DOOR,)
    assert doors.why == {other.tag: "Xray refuses it"}
    assert asked == [[DOOR.tag, other.tag], [DOOR.tag], [other.tag]]
    assert doors.tried(SITE, KEYS) is SITE


def test_a_door_whose_target_does_not_answer_is_named(server: Guarded) -> None:
    """No old link works by it, whatever listens."""
    server.open_door(server.make())
    server.keys.reconciler.closed_doors.targets = lambda: {DOOR.tag: "b.example:443 cannot be reached"}
    assert [(one.state, one.keys, one.problem) for one in server.doors.list()] == [
        ("target_down", 0, "b.example:443 cannot be reached")
    ]


def test_no_key_gets_the_port_of_a_door(server: Guarded) -> None:
    """Also while nobody listens there."""
    key = server.make()
    port = server.keys.pool.first + 1 if key.port == server.keys.pool.first else server.keys.pool.first
    with server.store.write() as transaction:
        transaction.nodes.put_door(replace(DOOR, port=port, members=()))
    server.keys.reconciler.reconcile()
    assert not server.keys.changer.snapshot().is_free(port)


def test_a_door_is_closed_for_good(server: Guarded) -> None:
    """All are cut at it, and go on by their own ports."""
    key = server.make()
    door = server.open_door(key)
    by_door, by_port = server.inside(key), server.customer(key)
    assert server.doors.close(door.tag) == door
    assert (by_door.is_open, by_port.is_open) == (False, True)
    assert (server.connect_by_door(key), server.store.doors()) == (None, ())
    assert not server.keys.reconciler.compare()[1]
    with pytest.raises(DoorNotFound):
        server.doors.close(door.tag)


@pytest.mark.parametrize("is_late", [False, True])
def test_a_door_that_xray_does_not_close_is_closed_later(server: Guarded, is_late: bool) -> None:
    """503 until it is true; a repair does it, and cuts, also after the next start."""
    key = server.make()
    door = server.open_door(key)
    by_door = server.inside(key)
    server.hang(is_late=is_late)
    for _ in range(2):
        with pytest.raises(StopPending):
            server.doors.close(door.tag)
    assert [one.state for one in server.doors.list()] == ["closing"]
    server.be_quiet()
    assert not by_door.is_open
    assert (server.connect_by_door(key), server.store.doors()) == (None, ())
