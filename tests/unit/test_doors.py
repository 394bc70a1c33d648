"""Doors: who is let in by an old link, and what a change of keys does to them."""

from dataclasses import replace
from datetime import datetime

import pytest

from vpnkeys.domain.change import Stop
from vpnkeys.domain.flow import Flow
from vpnkeys.domain.inbound import Inbound, ServerIdentity, desired_inbounds
from vpnkeys.domain.key import Key, Keys
from vpnkeys.domain.limits import Limits, Status
from vpnkeys.domain.nodes.door import Door, Member, is_door, tag_of_door, whole_short_ids
from vpnkeys.domain.plan import FileState, FileView, Observed, Plan, RunningView, plan, transition
from vpnkeys.service.change.at_doors import ends_of, repeated, tags_of, with_doors

AT = datetime(2026, 1, 1)  # noqa: DTZ001 - UTC, as everywhere


def key(number: int) -> Key:
    """An imported key."""
    uuid = f"00000000-0000-4000-8000-{number:012}"
    return Key(f"id-{number}", f"key {number}", uuid, AT, True, 10_000 + number, f"{number:016x}", "a.example")


KEYS = Keys(map(key, range(4)))
FIRST, SECOND, THIRD, STRANGER = KEYS


def door(*keys: Key) -> Door:
    """An inbound of another panel that let these in."""
    return Door(
        tag=tag_of_door("inbound-443", 443),
        port=443,
        target="b.example:443",
        server_names=("b.example", "c.example"),
        private_key="B" * 43,
        short_ids=whole_short_ids(("", "ab")),
        members=tuple(Member.of(one, Flow.NONE) for one in keys),
    )


DOOR = door(THIRD, FIRST, SECOND)
SITE = ServerIdentity("0.0.0.0", "A" * 43, "/run", ("a.example",), doors=(DOOR,))  # noqa: S104 - never listened on


def doors_in(keys: Keys, site: ServerIdentity = SITE) -> list[Inbound]:
    """The doors that Xray should have."""
    return [one for one in desired_inbounds(keys, site) if is_door(one.tag)]


def running(inbounds: tuple[Inbound, ...]) -> Observed:
    """An Xray with these, and a file without any."""
    return Observed(FileView(FileState.MISSING, {}), RunningView({one.tag: one for one in inbounds}, "1"))


def test_a_door_is_the_panels_inbound_with_the_keys_that_serve() -> None:
    """Its own port, key pair, short ids, names and target; counters are those of the keys."""
    (found,) = doors_in(KEYS)
    assert (found.port, found.listen) == (443, SITE.listen)
    assert found.reality.private_key == DOOR.private_key
    assert (found.reality.target, found.reality.server_names) == (DOOR.target, DOOR.server_names)
    assert found.reality.short_ids == ("0" * 16, "ab" + "0" * 14)
    assert [client.uuid for client in found.clients] == [FIRST.uuid, SECOND.uuid, THIRD.uuid]
    assert [client.email for client in found.clients] == [FIRST.account, SECOND.account, THIRD.account]
    assert {client.flow for client in found.clients} == {""}


@pytest.mark.parametrize(
    "out",
    [
        replace(FIRST, is_active=False),
        replace(FIRST, limit_status=Status.EXPIRED),
        replace(FIRST, limit_status=Status.LIMITED),
        replace(FIRST, limits=Limits(speed_mbps=10)),
        replace(FIRST, uuid="00000000-0000-4000-8000-999999999999", first_uuid=FIRST.uuid),
        replace(FIRST, short_id="f" * 16),
        replace(FIRST, sni="other.example"),
        None,
    ],
)
def test_who_is_out_is_out_at_the_door_and_nobody_else(out: Key | None) -> None:
    """Stopped, given a new link, slowed or deleted: the door is replaced, and his connections alone are cut there."""
    after = KEYS.changed([FIRST.id], [] if out is None else [out])
    (found,) = doors_in(after)
    assert [client.uuid for client in found.clients] == [SECOND.uuid, THIRD.uuid]
    todo = transition(KEYS, after, {FIRST.id}, SITE)
    assert DOOR.tag in todo.remove
    assert found in todo.add
    assert todo.cut_users == ((443, FIRST.uuid),)
    assert 443 not in todo.cut
    assert todo.file is not None
    assert tuple(todo.file) == desired_inbounds(after, SITE)


def test_a_repair_cuts_who_is_out_as_well() -> None:
    """What runs lets one in too many; and once it is repaired nothing is left to do."""
    after = KEYS.changed([FIRST.id], [])
    todo = plan(desired_inbounds(after, SITE), running(desired_inbounds(KEYS, SITE)))
    assert (todo.cut_users, todo.cut) == (((443, FIRST.uuid),), (FIRST.port,))
    repaired = plan(desired_inbounds(after, SITE), running(desired_inbounds(after, SITE)))
    assert replace(repaired, file=None) == Plan()


def test_who_comes_back_is_let_in_again() -> None:
    """Nobody is cut for it."""
    before = KEYS.changed([], [replace(FIRST, is_active=False)])
    todo = transition(before, KEYS, {FIRST.id}, SITE)
    assert (todo.cut, todo.cut_users) == ((), ())
    assert [one.tag for one in todo.add if is_door(one.tag)] == [DOOR.tag]


def test_the_last_one_leaves_no_door() -> None:
    """Then its port is cut as a whole."""
    site = replace(SITE, doors=(door(FIRST),))
    after = KEYS.changed([FIRST.id], [])
    assert doors_in(after, site) == []
    todo = transition(KEYS, after, {FIRST.id}, site)
    assert 443 in todo.cut


def test_a_stranger_changes_no_door() -> None:
    """A key that did not come with it, or one that is renamed."""
    after = KEYS.changed([STRANGER.id], [replace(SECOND, name="other")])
    todo = transition(KEYS, after, {STRANGER.id, SECOND.id}, SITE)
    assert (todo.remove, todo.cut_users) == ((STRANGER.tag,), ())


def test_a_door_that_is_not_as_it_should_be_is_cut_as_a_whole() -> None:
    """With another key pair nobody of it can be known."""
    wanted = desired_inbounds(KEYS, SITE)
    other = tuple(
        replace(one, reality=replace(one.reality, short_ids=("1" * 16,))) if is_door(one.tag) else one for one in wanted
    )
    todo = plan(wanted, running(other))
    assert (todo.remove, todo.cut, todo.cut_users) == ((DOOR.tag,), (443,), ())


def test_a_stop_that_is_repeated_is_repeated_at_the_door() -> None:
    """Both inbounds are removed, the door is added without him, and his connections are cut at both."""
    after, stop = KEYS.changed([FIRST.id], []), Stop(FIRST.id, FIRST.uuid, FIRST.port, AT)
    todo = repeated(Plan(), [stop], after, SITE)
    assert todo.remove == (FIRST.tag, DOOR.tag)
    assert todo.add == tuple(doors_in(after))
    assert (todo.cut, todo.cut_users) == ((FIRST.port,), ((443, FIRST.uuid),))
    assert tags_of([stop], SITE.doors) == [FIRST.tag, DOOR.tag]
    assert ends_of([stop], KEYS, SITE.doors) == Plan()  # he serves again


def test_a_door_that_is_being_closed_is_none() -> None:
    """The site is the same object where nothing has changed."""
    assert with_doors(SITE, [DOOR]) is SITE
    assert with_doors(SITE, [replace(DOOR, is_closing=True)]).doors == ()


def test_tags_are_plain() -> None:
    """Whatever the other panel called its inbounds."""
    assert tag_of_door("VLESS TCP REALITY", 443) == "vpnkeys-door-VLESS-TCP-REALITY"
    assert tag_of_door("входящий", 8443) == "vpnkeys-door-8443"
    assert len(tag_of_door("x" * 500, 1)) <= 64
