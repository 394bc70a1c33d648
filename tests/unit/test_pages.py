"""Pages of the list of keys: together they are the list, whatever happens to it between two of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.test_store import key

from vpnkeys.api.listing import Page, page_of, parse_query
from vpnkeys.domain.errors import InvalidPage
from vpnkeys.domain.key import Key

START = datetime(2026, 1, 31, 12)  # noqa: DTZ001 - UTC without an offset, as everywhere


def keys(count: int) -> tuple[Key, ...]:
    """So many, as a clock that goes back made them."""
    made = (key(number, created_at=START - number // 3 * timedelta(days=1)) for number in range(1, count + 1))
    return tuple(replace(one, number=number) for number, one in enumerate(made, 1))


def page(all_keys: tuple[Key, ...], limit: str | None = None, after: str | None = None, **wanted: str) -> Page:
    """A page, as it is asked for."""
    return page_of(all_keys, parse_query(wanted.get("name"), wanted.get("search"), after, limit))


@given(count=st.integers(0, 20), limit=st.integers(1, 7))
def test_pages_together_are_the_list(count: int, limit: int) -> None:
    """Each is full but the last, which is not empty."""
    everything = keys(count)
    found: list[Key] = []
    after: str | None = None
    while after != "":
        one = page(everything, str(limit), after)
        assert len(one.keys) == limit or not one.next_after
        assert one.keys or not everything
        found += one.keys
        after = one.next_after
    assert tuple(found) == everything


def test_what_happens_between_two_pages_moves_no_other_key() -> None:
    """Neither when the last key of a page is deleted, nor when keys before it are, nor when keys are made."""
    everything = keys(9)
    first = page(everything, "4")
    left = tuple(one for one in everything if one not in (everything[0], everything[3]))
    newest = replace(key(10, created_at=START - timedelta(days=9)), number=10)
    assert page((*left, newest), "100", first.next_after).keys == (*everything[4:], newest)


def test_a_search_looks_at_what_people_know_of_a_key() -> None:
    """At names and notes in any case and script, at identities and ports."""
    one, two = keys(2)
    one = replace(one, name="Анна Ω", note="paid\nby card", port=10017)
    for text in ("анна", "ω", " BY CARD ", one.uuid[-8:].upper(), one.id[-6:], one.short_id, "10017"):
        assert page((one, two), search=text).keys == (one,), text
    assert page((one, two), search="nobody").keys == ()
    assert page((one, two), name="анна ω").keys == ()
    assert page((one, two), name="Анна Ω", search="card").keys == (one,)


def test_pages_of_a_search_go_on_where_the_last_one_was_found() -> None:
    """The next page has what is found after it."""
    everything = tuple(replace(one, note="paid" if at % 2 else "") for at, one in enumerate(keys(9)))
    first = page(everything, "3", search="paid")
    assert first.keys == everything[1:7:2]
    assert page(everything, "3", first.next_after, search="paid") == Page((everything[7],), "")


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "", "a", "1.5", "²", "9" * 5000])
def test_a_wrong_limit_is_refused(limit: str) -> None:
    """In words that say what is right."""
    with pytest.raises(InvalidPage, match="1 to 1000"):
        parse_query(None, None, None, limit)


@pytest.mark.parametrize("after", ["", "1", "yesterday,1", ",", "2026-13-01,x"])
def test_a_wrong_place_is_refused(after: str) -> None:
    """It says where a right one is found."""
    with pytest.raises(InvalidPage, match="Link"):
        parse_query(None, None, after, None)
