"""Which inbounds of another panel become doors, for whom, and what keeps them from it."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from tests.unit.test_moving import ANY_PORT, NAMES, SHARED, customer, seen

from vpnkeys.domain.flow import Flow
from vpnkeys.domain.key import Key
from vpnkeys.domain.moving import Customer, Panel, SharedInbound, render_old_link
from vpnkeys.domain.nodes.door import Door
from vpnkeys.service.moving.collected import Collected
from vpnkeys.service.moving.doors import door_ports, with_doors
from vpnkeys.service.moving.importing import Here, MovePlan, plan_move
from vpnkeys.service.moving.inbound import read_inbound

FIT = replace(SHARED, target="www.other.example:443", door_short_ids=("aa" + "0" * 14, "0" * 16))
OWN = ("127.0.0.1",)
"""The addresses of this host."""


def planned(*customers: Customer, here: tuple[Key, ...] = (), doors: tuple[Door, ...] = ()) -> MovePlan:
    """The plan with old links kept."""
    ports = door_ports(customers)
    snapshot = replace(seen(*here, is_free=lambda port: port not in ports), chance=Random(len(here)))  # noqa: S311
    return with_doors(
        plan_move(Panel("panel", customers), snapshot, Here(ANY_PORT, NAMES, None)), here, doors, OWN.__contains__
    )


def moved_in(*names: str) -> list[Customer]:
    """Customers of one inbound."""
    return [customer(name, inbound=FIT, flow=Flow.VISION) for name in names]


def test_an_inbound_becomes_a_door_for_all_its_customers() -> None:
    """Port, key pair, all short ids and names; each by his UUID, with his flow."""
    first, second = moved_in("a", "b")
    second = replace(second, flow=Flow.NONE, is_active=False)
    plan = planned(first, second)
    (door,) = plan.doors
    assert (door.tag, door.port, door.target) == ("vpnkeys-door-in", FIT.port, FIT.target)
    assert (door.private_key, door.server_names) == (FIT.key_pair.private_key, FIT.server_names)
    assert door.short_ids == FIT.door_short_ids
    assert [(one.uuid, one.flow) for one in door.members] == [(first.uuid, first.flow), (second.uuid, "")]
    assert [one.key_id for one in door.members] == [key.id for key in plan.keys]
    assert door.port not in {key.port for key in plan.keys}
    assert "close-door vpnkeys-door-in" in plan.notes[0]


def test_a_second_import_changes_nothing_but_for_who_came_later() -> None:
    """Also after a key got a new link: it does not come back by the old one."""
    first, second = moved_in("a", "b")
    done = planned(first)
    again = planned(first, here=done.keys, doors=done.doors)
    assert not again
    rotated = replace(done.keys[0], short_id="f" * 16)
    later = planned(first, second, here=(rotated,), doors=done.doors)
    (door,) = later.doors
    assert door.members[0] == done.doors[0].members[0]
    assert [one.uuid for one in door.members] == [first.uuid, second.uuid]
    other_uuid = replace(done.keys[0], uuid="00000000-0000-4000-8000-000000000001", first_uuid=first.uuid)
    assert planned(first, here=(other_uuid,)).doors == ()


def test_keys_that_came_without_old_links_get_them_later() -> None:
    """An import that is repeated with --keep-old-links opens the door."""
    (one,) = moved_in("a")
    without = plan_move(Panel("panel", (one,)), seen(), Here(ANY_PORT, NAMES, None))
    plan = planned(one, here=without.keys)
    assert plan
    assert (plan.keys, len(plan.doors)) == ((), 1)


def test_a_customer_of_several_inbounds_is_let_in_by_each() -> None:
    """With his flow of each."""
    other = replace(FIT, tag="other", port=8443)
    (one,) = moved_in("a")
    found = Collected()
    assert found.add(one)
    assert found.add(replace(one, inbound=other, flow=Flow.NONE))
    (collected,) = found.panel("panel").customers
    plan = planned(collected)
    assert [(door.port, door.members[0].flow) for door in plan.doors] == [(443, one.flow), (8443, "")]


def test_a_customer_whose_flow_xray_does_not_have_is_left_out_of_the_door() -> None:
    """He gets his key, and it is said that his old link ends; the others' links go on."""
    first, second = moved_in("a", "b")
    plan = planned(replace(first, flow=None), second)
    assert len(plan.keys) == 2
    assert [one.uuid for one in plan.doors[0].members] == [second.uuid]
    (left,) = plan.left_out
    assert (left.what, left.used_bytes) == ("a", 0)
    assert f'old link of inbound "{FIT.tag}" ends' in left.why
    assert planned(replace(first, flow=None)).doors == ()


@pytest.mark.parametrize(
    ("flow", "known"),
    [
        ("", Flow.NONE),
        ("xtls-rprx-vision", Flow.VISION),
        ("xtls-rprx-vision-udp443", Flow.VISION),
        ("xtls-rprx-direct", None),
        ("-udp443", None),
        ("none", None),
    ],
)
def test_which_flows_xray_has(flow: str, known: Flow | None) -> None:
    """Its inbounds know Vision and none; a client that sends QUIC as well has Vision there."""
    assert Flow.of_link(flow) is known


@pytest.mark.parametrize(
    ("inbound", "why"),
    [
        (replace(FIT, no_door="its transport is not TCP"), "not TCP"),
        (replace(FIT, server_names=()), "no server name"),
        (replace(FIT, door_short_ids=()), "no short id"),
    ],
)
def test_what_can_be_no_door_is_said(inbound: SharedInbound, why: str) -> None:
    """Its customers get their keys all the same."""
    plan = planned(customer("a", inbound=inbound))
    assert (len(plan.keys), plan.doors) == (1, ())
    assert why in plan.notes[0]


def test_a_door_is_on_the_port_of_the_inbound_not_on_that_of_a_proxy() -> None:
    """Customers dial the proxy, and no key gets its port; that it has to go on is said."""
    inbound = replace(FIT, port=10_001, link_port=10_002)
    one = customer("a", inbound=inbound)
    plan = planned(one)
    assert [door.port for door in plan.doors] == [10_001]
    assert "the proxy there has to go on forwarding to port 10001" in plan.notes[1]
    assert door_ports([one]) == {10_001, 10_002}
    assert ":10002?" in render_old_link(one, "here")


@pytest.mark.parametrize(("listen", "listens"), [("", ""), ("127.0.0.1", "127.0.0.1"), ("203.0.113.5", "")])
def test_a_door_listens_on_an_address_of_this_host(listen: str, listens: str) -> None:
    """On that of the keys where the inbound had one of another host, and it is said."""
    plan = planned(customer("a", inbound=replace(FIT, listen=listen)))
    assert [door.listen for door in plan.doors] == [listens]
    assert [listen in note for note in plan.notes[1:]] == ([] if listen == listens else [True])


def test_a_port_that_a_key_has_is_its_own() -> None:
    """The door stays away, and the note names the key."""
    (one,) = moved_in("a")
    key = replace(plan_move(Panel("p", (customer("b"),)), seen(), Here(ANY_PORT, NAMES, None)).keys[0], port=FIT.port)
    plan = planned(one, here=(key,))
    assert plan.doors == ()
    assert key.id in plan.notes[0]


REALITY: dict[str, Any] = {
    "privateKey": SHARED.key_pair.private_key,
    "serverNames": ["www.a.example"],
    "shortIds": ["", "ab"],
    "target": "www.a.example:443",
}


@pytest.mark.parametrize(
    ("listen", "stream", "reality", "no_door"),
    [
        ("", {}, {}, ""),
        ("0.0.0.0", {"network": "tcp", "tcpSettings": {"header": {"type": "none"}}}, {}, ""),  # noqa: S104
        ("127.0.0.1", {}, {"target": None, "dest": "www.a.example:443"}, ""),
        ("", {"network": "grpc"}, {}, "its transport is not TCP"),
        ("/run/x.sock", {}, {}, "it listens on no IP address"),
        ("", {"tcpSettings": {"acceptProxyProtocol": True}}, {}, "it needs the PROXY protocol"),
        ("", {}, {"xver": 1}, "it needs the PROXY protocol"),
        ("", {}, {"target": "/run/y.sock"}, "its target is no host and port"),
    ],
)
def test_what_a_door_needs_is_read(listen: str, stream: dict[str, Any], reality: dict[str, Any], no_door: str) -> None:
    """All short ids, that of links without one too; and why there can be no door."""
    settings = {"security": "reality", "realitySettings": REALITY | reality, **stream}
    found = read_inbound("in", "vless", 443, listen, settings)
    assert found.no_door == no_door
    assert found.door_short_ids == ("0" * 16, "ab" + "0" * 14)
    if not no_door:
        assert found.target == "www.a.example:443"
