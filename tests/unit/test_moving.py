"""What is planned for another panel's customers: a key for each, with what can be unique, and nothing twice."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fake_store import FakeStore
from tests.fakes import Crash, Steps
from tests.strategies import key_lists, limits

from vpnkeys.domain.change import Snapshot, Stop
from vpnkeys.domain.errors import AlreadyTaken, PortsExhausted
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status, Window, judge
from vpnkeys.domain.moving import Customer, Panel, SharedInbound
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reality import KeyPair
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.service.moving.importing import Here, MovePlan, carry_out, plan_move

NOON = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - UTC without an offset, as everywhere
ANY_PORT = PortRange(1, 65535)
NAMES = ("www.one.example", "www.two.example")
PAIR = KeyPair.new()
SHARED = SharedInbound("in", 443, PAIR, ("aa", "bb"), ("www.other.example", NAMES[1]))


def customer(name: str, **more: object) -> Customer:
    """A customer of the shared inbound."""
    return replace(Customer(name, str(uuid.uuid4()), 7, inbound=SHARED), **more)  # type: ignore[arg-type]


def seen(*keys: Key, is_free: Callable[[int], bool] = lambda _port: True, stops: tuple[Stop, ...] = ()) -> Snapshot:
    """What is here."""
    return Snapshot(keys, (), stops, NOON, lambda _since: {}, is_free, Random(1))  # noqa: S311 - a test repeats


def planned(*customers: Customer, here: tuple[Key, ...] = (), pair: KeyPair | None = None) -> MovePlan:
    """The plan for customers of a panel."""
    return plan_move(Panel("panel", customers), seen(*here), Here(ANY_PORT, NAMES, pair))


def test_a_key_is_what_its_customer_was() -> None:
    """Name, note, UUID, limits, state and age; Vision, whatever the old flow was."""
    one = customer("anna", note="paid", created_at=NOON - timedelta(days=9), is_active=False, flow="")
    (key,) = planned(one).keys
    assert (key.name, key.note, key.uuid, key.created_at) == ("anna", "paid", one.uuid, one.created_at)
    assert (key.is_active, key.flow, key.sni) == (False, "xtls-rprx-vision", NAMES[1])


def test_a_stop_hides_no_key_that_has_its_uuid() -> None:
    """Who deletes a key by its UUID does not mean the one that was deleted before, whose client never asked again."""
    old, new = planned(customer("old")).keys[0], planned(customer("new")).keys[0]
    gone = Stop(old.id, new.uuid, old.port, NOON, is_confirmed=True)
    assert seen(new, stops=(gone,)).id_to_stop(new.uuid) == new.id
    assert seen(stops=(gone,)).id_to_stop(new.uuid) == old.id
    assert old.id in seen(stops=(gone,)).taken_names


def test_short_ids_go_round_once() -> None:
    """As far as there are some; a key here may have one, written with its zeros."""
    names = [customer(name) for name in "abc"]
    here = replace(planned(customer("here")).keys[0], short_id="aa" + "0" * 14)
    first, second, third = planned(*names, here=(here,)).keys
    assert first.short_id == "bb" + "0" * 14
    assert len({here.short_id, first.short_id, second.short_id, third.short_id}) == 4


def test_the_pair_of_most() -> None:
    """A server without keys gets it; one with keys keeps its own, and one without any gets a new one."""
    few = replace(SHARED, key_pair=KeyPair.new())
    many = [customer("a", inbound=few), customer("b"), customer("c")]
    assert planned(*many).key_pair == PAIR
    assert planned(*many, pair=KeyPair.new()).key_pair == PAIR
    assert planned(*many, pair=PAIR).key_pair is None
    assert planned(*many, here=planned(customer("d")).keys, pair=KeyPair.new()).key_pair is None
    bare = customer("e", inbound=None)
    assert planned(bare).key_pair not in {None, PAIR}
    assert planned(bare, pair=PAIR).key_pair is None


def test_who_is_here_is_left_alone() -> None:
    """Also a key that has another UUID by now; it is still that customer's."""
    one, two = customer("one"), customer("two")
    here = tuple(replace(key, name="renamed") for key in planned(one, two).keys)
    turned = (here[0], replace(here[1], uuid=str(uuid.uuid4()), first_uuid=two.uuid))
    plan = planned(one, two, here=turned)
    assert (bool(plan), plan.unchanged) == (False, turned)
    assert plan.moved == ((one, turned[0]), (two, turned[1]))


def test_a_stop_that_is_pending_keeps_its_uuid() -> None:
    """Xray may still let that customer in by the deleted key."""
    one = customer("one")
    stop = Stop("gone", one.uuid, 10001, NOON)
    with pytest.raises(AlreadyTaken):
        plan_move(Panel("panel", (one,)), seen(stops=(stop,)), Here(ANY_PORT, NAMES, None))


def test_only_free_ports() -> None:
    """The lowest first; too few are an error that names a range which is enough."""
    four = tuple(customer(name) for name in "abcd")
    odd = seen(is_free=lambda port: port % 2 == 1)
    here = Here(PortRange(10, 18), NAMES, None)
    assert [key.port for key in plan_move(Panel("panel", four), odd, here).keys] == [11, 13, 15, 17]
    with pytest.raises(PortsExhausted, match=r"4 keys need a port each.* 10-1[4-9]"):
        plan_move(Panel("panel", four), odd, replace(here, pool=PortRange(10, 16)))


@given(limits, st.integers(0, 10**12))
def test_limits_strike_before_the_first_start(bounds: Limits, used: int) -> None:
    """The status is what limits say of what was used there."""
    (key,) = planned(customer("one", limits=bounds, used_bytes=used)).keys
    assert key.limit_status == judge(key.limits, used, NOON)
    if key.limit_status is Status.ACTIVE and bounds.expires_at is not None:
        assert bounds.expires_at > NOON


def run(panel: Panel, store: FakeStore, pairs: list[KeyPair], dies: Callable[[], None] = lambda: None) -> MovePlan:
    """Import once, as the command does; `dies` may end it between the key pair and the commit."""

    def save(pair: KeyPair) -> None:
        pairs.append(pair)
        dies()

    with store.write() as transaction:
        plan = plan_move(panel, seen(*transaction.keys()), Here(ANY_PORT, NAMES, pairs[-1]))
        carry_out(plan, transaction, NOON, save)
    return plan


@given(key_lists(), st.sampled_from(["nowhere", "at the key pair", "before the commit", "after the commit"]))
def test_a_crash_is_repaired_by_running_it_again(old: list[Key], where: str) -> None:
    """Wherever the first run dies, the second one completes it, and a third has nothing to do."""
    panel = Panel("panel", tuple(customer(key.name, uuid=key.uuid, limits=key.limits) for key in old))
    store, pairs = FakeStore(steps=Steps()), [KeyPair.new()]
    store.steps.left = {"before the commit": 0, "after the commit": 1}.get(where)

    def dies() -> None:
        if where == "at the key pair":
            raise Crash

    try:
        run(panel, store, pairs, dies)
    except Crash:
        assert not store.keys() or pairs[-1] == PAIR
    store.steps.left = None
    run(panel, store, pairs)
    found = store.keys()
    assert {key.uuid for key in found} == {key.uuid for key in old}
    assert all(store.traffic(key.uuid).total_bytes == 7 for key in old)
    assert not run(panel, store, pairs)


def test_a_window_has_what_was_used_in_it() -> None:
    """What was used there counts until the window begins anew, and a total for ever."""
    monthly = Limits(traffic_bytes=10, traffic_window=Window.MONTH)
    one, two = customer("one", limits=monthly), customer("two", limits=Limits(traffic_bytes=10))
    store = FakeStore()
    run(Panel("panel", (one, two)), store, [PAIR])
    begin, end = Window.MONTH.start(NOON), Window.MONTH.resets_at(NOON)
    assert store.used_bytes({one.uuid: begin, two.uuid: None}) == {one.uuid: 7, two.uuid: 7}
    assert store.used_bytes({one.uuid: end}) == {one.uuid: 0}


def test_what_a_deleted_key_left_in_xray_is_not_counted_again() -> None:
    """A customer whose key was deleted here moves in once more while Xray runs on."""
    one, store = customer("one"), FakeStore()
    samples = Samples("life", {one.uuid: Bytes(50, 50)})
    plan = plan_move(Panel("panel", (one,)), seen(), Here(ANY_PORT, NAMES, PAIR, samples))
    with store.write() as transaction:
        carry_out(plan, transaction, NOON, lambda _pair: None)
        transaction.ledger.merge(Samples("life", {one.uuid: Bytes(50, 51)}), NOON)
    assert store.traffic(one.uuid).total_bytes == 8
