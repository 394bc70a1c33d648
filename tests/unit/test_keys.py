"""Keys as one value: what is carried from one change to the next is what would be found by looking again."""

from dataclasses import replace
from sys import getrefcount
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import key_lists
from tests.unit.test_link import KEY

from vpnkeys.domain.change import KeyChanges
from vpnkeys.domain.errors import KeyAmbiguous, KeyNotFound
from vpnkeys.domain.key import ACCOUNT, ID, PORT, SHORT_ID, UUID, Key, Keys, find
from vpnkeys.domain.nodes import NodeRef

WHATS: tuple[Any, ...] = (ID, UUID, ACCOUNT, PORT, SHORT_ID)
alterations = st.sampled_from(
    [lambda key: key, lambda key: replace(key, name="x"), lambda key: replace(key, port=key.port % 65535 + 1)]
)


def by_age(keys: list[Key]) -> tuple[Key, ...]:
    """As a database returns them."""
    return tuple(sorted(keys, key=lambda key: (key.created_at, key.id)))


@given(key_lists(max_size=8), st.sets(st.sampled_from(WHATS)), st.data())
def test_a_change_is_what_looking_again_finds(keys: list[Key], known: set[Any], data: Any) -> None:  # noqa: ANN401
    """In the same order, and by whatever a key is looked for, whether it was looked for before or not."""
    new = data.draw(st.integers(0, len(keys)))
    there, insert = Keys.of(keys[new:]), tuple(keys[:new])
    before = tuple(there), [dict(there.by(what)) for what in known]
    delete = tuple(key.id for key in there if data.draw(st.booleans()))
    update = tuple(data.draw(alterations)(key) for key in there if data.draw(st.booleans()))
    after = KeyChanges(insert, update, delete).applied_to(there)
    updated = {key.id: key for key in update}
    assert after == by_age([*(updated.get(key.id, key) for key in there if key.id not in delete), *insert])
    for what in WHATS:
        assert after.by(what) == Keys(tuple(after)).by(what)
    assert before == (tuple(there), [dict(there.by(what)) for what in known])


@given(key_lists(max_size=8), st.data())
def test_some_are_picked_by_their_ids(keys: list[Key], data: Any) -> None:  # noqa: ANN401 - draws of several types
    """Oldest first; an id that no key has is none."""
    ids = [*(key.id for key in keys if data.draw(st.booleans())), "nobody"]
    assert Keys.of(keys).among(ids) == by_age([key for key in keys if key.id in ids])
    for key in keys:
        assert find(keys, key.id.upper()) == find(keys, key.uuid) == key
    with pytest.raises(KeyNotFound):
        find(keys, "nobody")


def test_what_names_two_keys_is_refused() -> None:
    """Neither is taken for the other: a request to delete one must not delete another customer's key."""
    other = replace(KEY, id="other", uuid=KEY.id, port=KEY.port + 1)
    for name in (KEY.id, KEY.id.upper()):
        with pytest.raises(KeyAmbiguous):
            find([KEY, other], name)
    assert find([KEY, other], KEY.uuid) is KEY
    assert find([KEY, other], "other") is other


def test_a_change_of_nothing_is_the_same_keys() -> None:
    """What is kept for a state of the keys stays right."""
    keys = Keys.of([KEY])
    assert KeyChanges().applied_to(keys) is keys
    assert KeyChanges(delete=("nobody",), update=(replace(KEY, id="nobody"),)).applied_to(keys) is keys


def test_a_change_copies_no_index() -> None:
    """A key that stays is referred to once more, by the tuple: copying indices would go through all keys each time."""
    keys = Keys(replace(KEY, id=f"{n:03}", uuid=f"{n}", port=n, short_id=f"{n:016x}") for n in range(1, 500))
    for what in WHATS:
        assert len(keys.by(what)) == len(keys)
    referred = getrefcount(keys[7])
    states = [keys]
    for n in range(1, 11):
        states.append(states[-1].changed([f"{n + 20:03}"], [replace(keys[n + 100], name="x")]))
    more = getrefcount(keys[7]) - referred
    assert more == len(states) - 1


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4)), max_size=60))
def test_many_changes_find_what_looking_again_finds(changes: list[tuple[int, int]]) -> None:
    """Also where several keys have the same port, as on several nodes, and after what is late has joined the rest."""
    keys = Keys()
    for what in WHATS:
        keys.by(what)
    for key_id, port in changes:
        key = replace(KEY, id=f"{key_id}", uuid=f"{key_id}", port=port, short_id=f"{key_id}{port}" * 8)
        keys = keys.changed([key.id], ()) if key in keys else keys.changed((), [key])
        for what in WHATS:
            assert dict(keys.by(what)) == {what(key): key for key in keys}
            assert {value in keys.by(what) for value in keys.by(what)} <= {True}
            assert keys.by(what).get("nobody") is None
        assert [keys.has(key) for key in keys] == [True] * len(keys)


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 3)), max_size=40))
def test_the_keys_of_each_node_are_carried_on(changes: list[tuple[int, int]]) -> None:
    """Also of keys that move; those of a node on which none has changed are the very same object."""
    keys = Keys()
    keys.by_node()
    for key_id, node in changes:
        key = replace(KEY, id=f"{key_id}", node=NodeRef(node, f"node-{node}"))
        was = keys.by(ID).get(key.id)
        before = keys.by_node()
        keys = keys.changed([key.id], ()) if key in keys else keys.changed((), [key])
        assert keys.by_node() == Keys(tuple(keys)).by_node()
        touched = {node} if was is None else {node, was.node.id}
        assert all(before[other] is its for other, its in keys.by_node().items() if other not in touched)


def test_a_short_id_of_two_keys_stays_taken_when_one_goes() -> None:
    """Xray takes `ab` and `ab00` for the same; a server that keys came from may have had both."""
    twins = Keys.of([replace(KEY, id="1", short_id="ab"), replace(KEY, id="2", short_id="ab00")])
    assert len(twins.by(SHORT_ID)) == 1
    for gone in "12":
        assert [*twins.changed([gone], ()).by(SHORT_ID)] == ["ab" + "0" * 14]
