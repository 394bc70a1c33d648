"""What is planned for an old installation: everything or nothing, and whatever stands in the way is told."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fake_store import FakeStore
from tests.fakes import Crash, Steps
from tests.strategies import key_lists
from tests.support.legacy import OldKey, OldServer

from vpnkeys.domain.key import Key
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reality import KeyPair
from vpnkeys.service.legacy.importing import ImportPlan, LegacyInstallation, carry_out, plan_import
from vpnkeys.service.legacy.reading import read_installation

POOL = PortRange(10001, 10100)
ANY_PORT = PortRange(1, 65535)
NOON = datetime(2025, 8, 5, 12)  # noqa: DTZ001 - UTC without an offset, as everywhere
NAMES = ("www.one.example", "www.two.example")
ONE = OldKey("one", 10001, "5f9c2b7adfe7d8ab", NAMES[0], total_bytes=11)
TWO = OldKey("two", 10002, "a1b2c3d4", NAMES[1], total_bytes=22)


def old_server(*keys: OldKey) -> OldServer:
    """An old server that exists on no disk."""
    return OldServer(Path("/nowhere"), keys)


def read(server: OldServer, sni: str = "") -> LegacyInstallation:
    """What we make of it."""
    return read_installation(server.tables(), json.dumps(server.document()), server.env_text(), sni)


def codes(result: LegacyInstallation | ImportPlan) -> list[str]:
    """The clashes in short."""
    return [clash.code for clash in result.clashes]


def twice(server: OldServer, **more: object) -> OldServer:
    """A server with a second row for its first key."""
    return replace(server, more_rows={"keys": [server.keys[0].columns | more]})


PAIRED = old_server(ONE)
REALITY_OFF = {"streamSettings": {"network": "ws", "security": "none"}}
CLASHES: dict[str, tuple[OldServer, str]] = {
    "two keys on one port": (old_server(ONE, replace(TWO, port=ONE.port)), "duplicate_port"),
    "two keys with one short id": (old_server(ONE, replace(TWO, short_id=ONE.short_id)), "duplicate_short_id"),
    "two keys with one UUID": (twice(old_server(ONE), id="another"), "duplicate_uuid"),
    "an inbound twice": (
        replace(old_server(ONE), more_inbounds=[PAIRED.document()["inbounds"][1] | {"port": 10009}], pair=PAIRED.pair),
        "served_twice",
    ),
    "a port out of range": (old_server(replace(ONE, port=20000)), "port_out_of_range"),
    "a key that Xray does not serve": (old_server(replace(ONE, served=False)), "not_served"),
    "an inactive key that Xray serves": (old_server(replace(ONE, is_active=False)), "served_though_inactive"),
    "a nameless row": (old_server(replace(ONE, row={"name": None})), "key_damaged"),
    "a name in no encoding": (old_server(replace(ONE, row={"name": "\udcff"})), "key_damaged"),
    "a UUID that is none": (old_server(replace(ONE, served=False, row={"uuid": "none"})), "key_damaged"),
    "a time that is none": (old_server(replace(ONE, row={"created_at": "yesterday"})), "key_damaged"),
    "a port that is none": (old_server(replace(ONE, row={"port": "many"})), "key_damaged"),
    "traffic that is none": (old_server(replace(ONE, payload="{")), "traffic_damaged"),
    "another public key": (replace(old_server(ONE), public_key=KeyPair.new().public_key), "key_pair_mismatch"),
    "another transport": (old_server(replace(ONE, inbound=REALITY_OFF)), "inbound_unfit"),
    "several clients": (
        old_server(replace(ONE, inbound={"settings": {"clients": [{"id": ONE.uuid}, {"id": TWO.uuid}]}})),
        "inbound_unfit",
    ),
}


@pytest.mark.parametrize("what", CLASHES)
def test_a_clash_stops_everything(what: str) -> None:
    """Each thing that cannot be taken over as it is gets one line that says what to do, and nothing is written."""
    server, code = CLASHES[what]
    plan = plan_import(read(server), (), POOL, None)
    assert codes(plan) == [code]
    assert not plan
    assert not plan.accounts
    assert "\n" not in plan.clashes[0].message
    assert any(word in plan.clashes[0].message for word in ("import again", "VPNKEYS_PORT_RANGE", "keys.env"))


def test_all_clashes_are_told_at_once() -> None:
    """Whoever has to put things right learns everything in one go."""
    server = old_server(replace(ONE, payload="{"), replace(TWO, port=30000), replace(ONE, uuid="?", served=False))
    assert sorted(codes(plan_import(read(server), (), POOL, None))) == [
        "key_damaged",
        "port_out_of_range",
        "traffic_damaged",
    ]


@pytest.mark.parametrize("change", [{"port": 10007}, {"name": "renamed"}, {"flow": ""}, {"sni": NAMES[1]}])
def test_a_key_that_is_here_with_other_content_is_a_clash(change: dict[str, Any]) -> None:
    """A UUID that is here already stays as it is; which of the two is right is not ours to say."""
    installation = read(old_server(ONE))
    here = replace(installation.keys[0], **change)
    plan = plan_import(installation, [here], POOL, installation.key_pair)
    assert codes(plan) == ["uuid_taken"]
    assert next(iter(change)) in plan.clashes[0].message


@pytest.mark.parametrize("shared", ["id", "port", "short_id"])
def test_what_another_key_here_has_is_a_clash(shared: str) -> None:
    """No two keys share an id, a port or a short id."""
    installation = read(old_server(ONE, TWO))
    first, second = installation.keys
    here = replace(first, **{shared: getattr(second, shared)})
    plan = plan_import(replace(installation, keys=(second,)), [here], POOL, installation.key_pair)
    assert codes(plan) == [f"{shared}_taken"]


@pytest.mark.parametrize("is_fresh", [True, False])
def test_what_would_name_two_keys_is_a_clash(is_fresh: bool) -> None:
    """A key is found by its id and by its UUID: what is the one of a key is not the other of another."""
    installation = read(old_server(ONE, TWO))
    first, second = installation.keys
    named = replace(first, id=second.uuid)
    both = replace(installation, keys=(named, second))
    assert codes(plan_import(both, (), POOL, installation.key_pair)) == ["duplicate_id"]
    coming, here = (named, second) if is_fresh else (second, named)
    plan = plan_import(replace(installation, keys=(coming,)), [here], POOL, installation.key_pair)
    assert codes(plan) == ["id_taken" if is_fresh else "uuid_taken"]


def test_keys_made_with_another_pair_are_a_clash() -> None:
    """One server has one pair: taking over the old one would end all links that were made here."""
    installation = read(old_server(ONE))
    mine = replace(installation.keys[0], id="mine", uuid="mine", port=10099, short_id="77")
    assert codes(plan_import(installation, [mine], POOL, KeyPair.new())) == ["other_key_pair"]
    assert plan_import(installation, [], POOL, KeyPair.new()).key_pair == installation.key_pair
    assert plan_import(installation, [mine], POOL, installation.key_pair).key_pair is None


@given(key_lists(), key_lists(), st.booleans())
def test_a_plan_is_all_or_nothing(old: list[Key], here: list[Key], same_pair: bool) -> None:
    """With a clash there is nothing to write; without one every key is either new or here."""
    pair = KeyPair.new()
    installation = LegacyInstallation(tuple(old), {}, pair)
    plan = plan_import(installation, here, ANY_PORT, pair if same_pair else KeyPair.new())
    if plan.clashes:
        assert not plan
    else:
        assert {*plan.keys, *plan.unchanged} == set(old)
        assert set(plan.accounts) == {key.uuid for key in plan.keys}


def run(installation: LegacyInstallation, store: FakeStore, pairs: list[KeyPair], dies: Callable[[], None]) -> None:
    """Import once, as the command does; `dies` may end it between the key pair and the commit."""

    def save(pair: KeyPair) -> None:
        pairs.append(pair)
        dies()

    with store.write() as transaction:
        plan = plan_import(installation, transaction.keys(), ANY_PORT, pairs[-1])
        assert not plan.clashes
        carry_out(plan, transaction, save)


@given(key_lists(), st.sampled_from(["nowhere", "at the key pair", "before the commit", "after the commit"]))
def test_a_crash_is_repaired_by_running_it_again(old: list[Key], where: str) -> None:
    """Wherever the first run dies, no key is ever there with a foreign pair, and the second one completes it."""
    installation = LegacyInstallation(tuple(old), {key.uuid: 7 for key in old}, KeyPair.new())
    store, pairs = FakeStore(steps=Steps()), [KeyPair.new()]
    store.steps.left = {"before the commit": 0, "after the commit": 1}.get(where)

    def dies() -> None:
        if where == "at the key pair":
            raise Crash

    try:
        run(installation, store, pairs, dies)
    except Crash:
        assert not store.keys() or pairs[-1] == installation.key_pair
    store.steps.left = None
    run(installation, store, pairs, lambda: None)
    assert set(store.keys()) == set(old)
    assert pairs[-1] == installation.key_pair
    assert all(store.traffic(key.uuid).total_bytes == 7 for key in old)
    assert not plan_import(installation, store.keys(), ANY_PORT, pairs[-1])


def test_a_second_run_leaves_totals_alone() -> None:
    """What was reset or used here since the import is not touched by importing again."""
    installation = read(old_server(ONE))
    store, pairs = FakeStore(), [KeyPair.new()]
    run(installation, store, pairs, lambda: None)
    with store.write() as transaction:
        transaction.ledger.reset(ONE.uuid, NOON)
    run(installation, store, pairs, lambda: None)
    assert store.traffic(ONE.uuid).total_bytes == 0
