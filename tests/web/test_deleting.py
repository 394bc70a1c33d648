"""Deleting in the dashboard: nothing is gone before it is too late to say stop."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from tests.support.browser import Visitor
from tests.support.keys import list_keys, make_key
from tests.support.process import wait_until
from tests.support.service import Service

pytestmark = pytest.mark.e2e

_PROBLEM = {"status": 503, "code": "xray_unavailable", "detail": "Xray does not answer.", "title": "x", "type": "x"}


def test_a_deletion_waits_and_is_taken_back(admin: Visitor, service: Service) -> None:
    """The key is out of sight and still works; Undo brings it back."""
    make_key(service, "spared")
    page = admin.page
    page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))
    page.get_by_role("button", name="Delete: spared").click()
    expect(page.get_by_role("link", name="spared")).to_have_count(0)
    assert len(list_keys(service)) == 1
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("link", name="spared")).to_be_visible()
    page.clock.run_for(8_000)  # longer than it would have waited: nothing may happen
    assert len(list_keys(service)) == 1


def test_a_page_that_stood_still_took_nobody_s_time(admin: Visitor, service: Service) -> None:
    """After a minute of sleep there is still time for Undo, and what was left of it is waited for."""
    make_key(service, "asleep")
    page = admin.page
    page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))
    page.get_by_role("button", name="Delete: asleep").click()
    page.mouse.move(0, 0)
    page.clock.run_for(3_000)
    page.clock.fast_forward(60_000)
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    assert len(list_keys(service)) == 1
    page.clock.run_for(5_000)
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    wait_until(lambda: list_keys(service) == [])


def test_undo_outlives_a_change_of_language(admin: Visitor, service: Service) -> None:
    """The message moves to the page in the other language, and takes its words."""
    make_key(service, "перевод")
    page = admin.page
    page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))
    page.get_by_role("button", name="Delete: перевод").click()
    page.get_by_role("button", name="Русский").click()
    expect(page.locator("#toasts")).to_contain_text("Удаляется")
    page.get_by_role("button", name="Отменить").click()
    expect(page.get_by_role("link", name="перевод")).to_be_visible()
    assert len(list_keys(service)) == 1


def test_it_is_done_when_nobody_says_stop(admin: Visitor, service: Service) -> None:
    """After seven seconds, for one and for many."""
    for name in ("one", "two", "three"):
        make_key(service, name)
    page = admin.page
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_role("checkbox", name="Select all keys shown").check()
    page.get_by_role("checkbox", name="Select two").uncheck()
    page.clock.install()
    page.get_by_role("region", name="Selected keys").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Deleting 2 keys…")).to_be_visible()
    assert "Deleted" not in admin.told()
    assert len(list_keys(service)) == 3
    page.clock.run_for(8_000)
    assert wait_until(lambda: [key["name"] for key in list_keys(service)] == ["two"])
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_text("Deleted 2 keys")).to_be_visible()


def test_it_is_done_at_once_when_asked(anywhere: Visitor, service: Service) -> None:
    """By "Delete now", without waiting; only then it is said to be done."""
    make_key(service, "unwanted")
    page = anywhere.page
    page.get_by_role("button", name="Delete: unwanted").click()
    expect(page.get_by_text("Deleting \u2068unwanted\u2069…")).to_be_visible()
    page.get_by_role("button", name="Delete now").click()
    expect(page.get_by_text("Deleted \u2068unwanted\u2069")).to_be_visible()
    assert list_keys(service) == []


def test_leaving_does_it_at_once(admin: Visitor, service: Service) -> None:
    """A page that is closed forgets nothing."""
    make_key(service, "gone")
    admin.page.get_by_role("button", name="Delete: gone").click()
    expect(admin.page.get_by_role("button", name="Undo")).to_be_visible()
    admin.page.goto("about:blank")
    assert wait_until(lambda: list_keys(service) == [])


def test_signing_out_does_it_too(admin: Visitor, service: Service) -> None:
    """While there is still somebody to do it."""
    make_key(service, "gone")
    admin.page.get_by_role("button", name="Delete: gone").click()
    admin.page.get_by_role("button", name="Sign out").click()
    expect(admin.page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert list_keys(service) == []


def test_what_is_refused_comes_back(admin: Visitor, service: Service) -> None:
    """And the reason is told: the server was stopped in between."""
    make_key(service, "stays")
    page = admin.page
    admin.expected.add(503)
    page.route(re.compile("/api/keys/[^/]+$"), lambda route: route.fulfill(status=503, json=_PROBLEM))
    page.get_by_role("button", name="Delete: stays").click()
    page.get_by_role("button", name="Delete now").click()
    expect(page.locator(".toast.error")).to_contain_text("Xray does not answer")
    expect(page.get_by_role("link", name="stays")).to_be_visible()
