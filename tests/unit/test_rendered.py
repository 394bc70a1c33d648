"""Keys are rendered once for each state of the database, and never shown as they were before."""

from dataclasses import replace

import pytest
from tests.contract.test_store import key

from vpnkeys.api.rendered import RenderedKeys, json_of
from vpnkeys.domain.errors import KeyNotFound
from vpnkeys.domain.key import Key


class Keys:
    """A store's keys and their renderer, which counts."""

    def __init__(self) -> None:
        self.now: tuple[Key, ...] = (key(1), key(2))
        self.rendered: list[str] = []
        self.kept = RenderedKeys(lambda: self.now, self.render)

    def render(self, one: Key) -> bytes:
        """Render a key, and note it."""
        self.rendered.append(one.id)
        return json_of(one)


def test_each_answer_is_rendered_once() -> None:
    """However often it is asked for; by id and by UUID it is an answer each."""
    keys = Keys()
    first = keys.now[0]
    assert {keys.kept.one(first.id) for _ in range(10)} == {json_of(first)}
    assert keys.rendered == [first.id]
    assert {keys.kept.all() for _ in range(10)} == {b"[%s,%s]" % (json_of(first), json_of(keys.now[1]))}
    assert keys.rendered == [first.id, *(one.id for one in keys.now)]
    assert keys.kept.one(first.uuid) == json_of(first)


def test_a_change_is_in_the_next_answer() -> None:
    """Of the one and of all; a key that is gone is not found any more."""
    keys = Keys()
    first, second = keys.now
    assert keys.kept.one(second.id) in keys.kept.all()
    assert keys.kept.one(first.id) == json_of(first)
    changed = replace(first, name="changed")
    keys.now = (changed,)
    assert keys.kept.one(first.id) == json_of(changed)
    assert keys.kept.all() == b"[%s]" % json_of(changed)
    with pytest.raises(KeyNotFound):
        keys.kept.one(second.id)


def test_what_is_not_there_is_not_kept() -> None:
    """So that requests for made-up ids take no memory, and find the key once it is there."""
    keys = Keys()
    with pytest.raises(KeyNotFound):
        keys.kept.one(key(3).id)
    assert not keys.kept._snapshot.one
