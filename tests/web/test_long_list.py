"""A thousand keys in the list: all of them can be reached, and the page stays quick."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.browser import Visitor, artifacts
from tests.support.many_keys import with_many

pytestmark = pytest.mark.e2e

_KEYS = 1000
_PIECES = 300
"""So many are drawn in pieces, too."""
_PIECE = 100


@pytest.fixture
def few(admin: Visitor) -> float:
    """How much a sample changes in a page with as many keys as are drawn at once."""
    changes = with_many(admin.page, _PIECE)["changes"]
    admin.page.reload()
    return changes


def test_a_thousand_keys_cost_what_a_hundred_do(admin: Visitor, few: float) -> None:
    """Only a piece of the list is drawn, and a sample changes only that; how long it took is beside the pictures."""
    took = with_many(admin.page, _KEYS)
    measured = f"drawn in {took['drawn']:.0f} ms, a sample in {took['sampled']:.1f} ms, {took['changes']:.0f} changes"
    (artifacts() / "thousand-keys.txt").write_text(measured)
    expect(admin.page.locator(".count")).to_have_text("1,000 keys")
    assert admin.page.locator("tbody tr").count() <= 2 * _PIECE
    assert 0 < took["changes"] <= 2 * few, measured


def test_they_stand_in_the_order_in_which_they_were_made(admin: Visitor) -> None:
    """Which is the server's: a key of a clock that was behind is no older than those before it."""
    with_many(admin.page, 3)
    expect(admin.page.locator("tbody th .name")).to_have_text([f"customer {n}" for n in range(3)])


def test_they_are_sorted_by_what_is_shown_as_used(admin: Visitor) -> None:
    """Of a key with a limit that is what counts against it, however much it has carried since it was made."""
    with_many(admin.page, 5)
    admin.page.get_by_role("columnheader", name="Used").get_by_role("button").click()
    expect(admin.page.locator("tbody .usage-text")).to_have_text(
        ["28 kB", "27 kB", "26 kB", "4 kB of 100 GB", "0 B of 100 GB"]
    )


@pytest.mark.parametrize("count", [_PIECES, pytest.param(_KEYS, marks=pytest.mark.soak)])
def test_every_one_of_them_can_be_reached(admin: Visitor, count: int) -> None:
    """By scrolling, by searching and by selecting all."""
    page = admin.page
    with_many(page, count)
    rows = page.locator("tbody tr")
    shown = rows.count()
    while shown < count:
        page.locator(".list-end").scroll_into_view_if_needed()
        expect(rows.nth(shown)).to_be_attached()
        shown = rows.count()
    expect(rows).to_have_count(count)
    page.get_by_role("searchbox").fill(f"customer {count - 13}")
    expect(page.locator("tbody th .name")).to_have_text([f"customer {count - 13}"])
    page.get_by_role("searchbox").fill("")
    page.get_by_role("checkbox", name="Select all keys shown").check()
    expect(page.get_by_role("region", name="Selected keys")).to_contain_text(f"{count:,} selected")
