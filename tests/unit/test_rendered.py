"""Keys are rendered once for each state of the database, and never shown as they were before."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from sys import getrefcount

import pytest
from tests.contract.test_store import key
from tests.fakes import FakeClock

from vpnkeys.api.convert.keys import key_answer
from vpnkeys.api.listing import parse_query
from vpnkeys.api.rendered import RenderedKeys, json_of
from vpnkeys.domain.errors import KeyAmbiguous, KeyNotFound, StoreUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.key import Keys as AllKeys
from vpnkeys.domain.limits import Limits, Window
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.service.limits.usage import UsageBoard


class Keys:
    """A store's keys and their renderer, which counts."""

    def __init__(self) -> None:
        self.now: tuple[Key, ...] = (key(1), key(2))
        self.rendered: list[str] = []
        self.used: dict[str, int] = {}
        self.reads = 0
        self.clock = FakeClock()
        board = UsageBoard(self.read, self.clock)
        self.kept = RenderedKeys(lambda: self.now, board, self.render)
        self.board = board

    def read(self, since: Mapping[str, datetime | None], _fresh: Iterable[Samples]) -> Mapping[str, int]:
        """Read what keys have used, and note it."""
        self.reads += 1
        return {account: self.used.get(account, 0) for account in since}

    def json(self, one: Key) -> bytes:
        """A key's whole answer."""
        return key_answer(one, self.board.of(one)).model_dump_json().encode()

    def render(self, one: Key) -> bytes:
        """Render a key, and note it."""
        self.rendered.append(one.id)
        return json_of(one)


def test_each_answer_is_rendered_once() -> None:
    """However often it is asked for; by id and by UUID it is an answer each."""
    keys = Keys()
    first = keys.now[0]
    assert {keys.kept.one(first.id) for _ in range(10)} == {keys.json(first)}
    assert keys.rendered == [first.id]
    assert {keys.kept.all() for _ in range(10)} == {b"[%s,%s]" % (keys.json(first), keys.json(keys.now[1]))}
    assert keys.rendered == [one.id for one in keys.now]
    assert keys.kept.one(first.uuid) == keys.json(first)
    assert keys.kept.page(parse_query(first.name, None, None, None)) == (b"[%s]" % keys.json(first), "")
    assert keys.reads == 2  # each key once
    assert keys.kept.one(first.id) is keys.kept.one(first.uuid)


def test_what_names_two_keys_is_refused_whatever_was_asked_before() -> None:
    """The answer for the one by its own id is none for the other, whose id is the UUID of the one."""
    keys = Keys()
    first, second = keys.now
    keys.now = (first, replace(second, uuid=first.id))
    assert keys.kept.one(second.id) == keys.json(keys.now[1])
    with pytest.raises(KeyAmbiguous):
        keys.kept.one(first.id)


def test_a_window_that_begins_is_in_the_next_answer() -> None:
    """Nobody has to take a sample at midnight."""
    keys = Keys()
    keys.now = (replace(keys.now[0], limits=Limits(traffic_bytes=1000, traffic_window=Window.DAY)), keys.now[1])
    before = json.loads(keys.kept.one(keys.now[0].id))["resets_at"]
    keys.clock.advance(days=1)
    assert json.loads(keys.kept.one(keys.now[0].id))["resets_at"] > before


def test_what_is_used_is_in_the_next_answer_after_a_sample() -> None:
    """Of the one and of all, though the key itself is not rendered again; the bytes left follow."""
    keys = Keys()
    limited = replace(keys.now[0], limits=Limits(traffic_bytes=1000, traffic_window=Window.MONTH))
    keys.now = (limited, keys.now[1])
    for used in (0, 999, 1000, 1001):
        keys.used[limited.account] = used
        keys.board.note(Samples("life", {limited.account: Bytes(used, 0)}), are_all=True)
        keys.board.follow(keys.now)
        shown = json.loads(keys.kept.one(limited.id))
        assert shown == json.loads(keys.kept.all())[0]
        assert shown == json.loads(keys.json(limited))
        assert (shown["used_in_window_bytes"], shown["remaining_bytes"]) == (used, max(0, 1000 - used))
        assert shown["resets_at"] == "2025-09-01T00:00:00.000000"
    assert keys.rendered == [one.id for one in keys.now]
    assert keys.kept.all() is keys.kept.all()


def test_a_silent_database_hides_no_key() -> None:
    """What is known is shown; of what is not, that it is not known."""
    keys = Keys()
    keys.used[keys.now[0].account] = 7
    keys.board.of(keys.now[0])

    def fail(*_: object) -> Mapping[str, int]:
        raise StoreUnavailable("the database does not answer")

    keys.board.ledger = fail
    assert [one["used_in_window_bytes"] for one in json.loads(keys.kept.all())] == [7, None]


def test_a_change_is_in_the_next_answer() -> None:
    """Of the one and of all; a key that is gone is not found any more."""
    keys = Keys()
    first, second = keys.now
    assert keys.kept.one(second.id) in keys.kept.all()
    assert keys.kept.one(first.id) == keys.json(first)
    changed = replace(first, name="changed")
    keys.now = (changed,)
    assert keys.kept.one(first.id) == keys.json(changed)
    assert keys.kept.all() == b"[%s]" % keys.json(changed)
    with pytest.raises(KeyNotFound):
        keys.kept.one(second.id)


def test_a_change_renders_one_key_again() -> None:
    """Of a page, of all, and of the key itself; what is kept of keys that are gone does not grow for ever."""
    keys = Keys()
    keys.now = AllKeys(map(key, range(1, 41)))
    assert len(json.loads(keys.kept.all())) == len(keys.now)
    for number, before in enumerate(keys.now):
        keys.rendered.clear()
        changed = replace(before, name=f"changed {number}")
        keys.now = AllKeys.of(keys.now).changed((), [changed])
        assert keys.kept.one(before.uuid) == keys.json(changed)
        assert keys.json(changed) in keys.kept.page(parse_query(None, None, None, "40"))[0]
        assert keys.json(changed) in keys.kept.all()
        assert keys.rendered == [changed.id]
    for number in range(200):
        keys.now = AllKeys([key(number + 100)])
        keys.kept.one(key(number + 100).id)
    assert len(keys.kept._one) <= 3


def test_a_read_keeps_no_state_of_the_keys() -> None:
    """Else the next read would free it: all of its keys are gone through, in the event loop."""
    keys = Keys()
    keys.now = AllKeys(map(key, range(1, 10)))
    referred = getrefcount(keys.now)
    for one in keys.now:
        assert keys.kept.one(one.id) == keys.json(one)
    more = getrefcount(keys.now) - referred
    assert more == 0


def test_what_is_not_there_is_not_kept() -> None:
    """So that requests for made-up ids take no memory, and find the key once it is there."""
    keys = Keys()
    with pytest.raises(KeyNotFound):
        keys.kept.one(key(3).id)
    assert not keys.kept._one


def test_what_nobody_asks_for_is_not_read() -> None:
    """Of a thousand keys those that were asked for of late are read again; nothing is kept of the others."""
    read: list[str] = []
    now = 0.0

    def ledger(since: Mapping[str, datetime | None], _fresh: Iterable[Samples]) -> Mapping[str, int]:
        read.extend(since)
        return dict.fromkeys(since, 7)

    board, every = UsageBoard(ledger, FakeClock(), now=lambda: now), AllKeys(map(key, range(1, 1001)))
    asked = every[:3]
    board.follow(every)
    assert [one.used_bytes for one in board.of_each(asked)] == [7, 7, 7]
    for _ in range(6):
        read.clear()
        now += 10
        board.note(Samples("life", {one.account: Bytes(int(now), 0) for one in every}), are_all=True)
        board.follow(every)
        assert read == [one.account for one in asked]
        read.clear()
        assert [one.used_bytes for one in board.of_each(asked)] == [7, 7, 7]
        assert read == []
    now += 61
    board.follow(every)
    assert (read, board._read) == ([], {})
    assert board.take_used() == {one.account for one in every}
