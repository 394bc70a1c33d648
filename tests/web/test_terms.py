"""Keys whose time begins with their first connection, in the dashboard: no date yet, and not endless."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Visitor
from tests.support.many_keys import main_module
from tests.support.service import Service

pytestmark = pytest.mark.e2e

HOUR_S = 3600


def _make(service: Service, name: str, **limits: object) -> dict[str, Any]:
    made = service.client.post("/api/keys", json={"name": name} | limits)
    made.raise_for_status()
    key: dict[str, Any] = made.json()
    return key


def _in_russian(page: Page) -> None:
    page.get_by_role("button", name="Русский").click()


def test_the_list_tells_it_from_an_endless_one(anywhere: Visitor, service: Service) -> None:
    """By the exact time, also on a phone, and in the order by expiry between dates and those that never expire."""
    _make(service, "never")
    _make(service, "a month", expires_after_s=720 * HOUR_S)
    _make(service, "a day and a half", expires_after_s=36 * HOUR_S)
    _make(service, "dated", expires_at="2099-01-01")
    page = anywhere.page
    row = page.locator("tbody tr", has_text="a day and a half")
    expect(row.locator(".c-expires .waiting")).to_have_text("1 day 12 hours from first use")
    expect(row.locator(".c-expires .waiting")).to_be_visible()
    page.evaluate("() => document.querySelector('.c-expires .sort').click()")
    names = ("dated", "a day and a half", "a month", "never")
    expect(page.locator("tbody th .name")).to_have_text(names)
    _in_russian(page)
    expect(row.locator(".c-expires .waiting")).to_have_text("1 день 12 часов с первого байта")


def test_its_details_and_changes_say_how_long(admin: Visitor, service: Service) -> None:
    """In words and not in seconds."""
    key = _make(service, "waits", expires_after_s=HOUR_S)
    service.client.patch(f"/api/keys/{key['id']}", json={"expires_after_s": 36 * HOUR_S}).raise_for_status()
    admin.go(f"#/keys/{key['id']}")
    facts = admin.page.get_by_role("region", name="Details")
    expect(facts).to_contain_text("1 day 12 hours from first use")
    expect(admin.page.locator(".changes")).to_contain_text("1 hour → 1 day 12 hours")


def test_its_time_is_extended(admin: Visitor, service: Service) -> None:
    """And the dialog says that it becomes longer, not that it never ends; what never ends is told beside it."""
    waits = _make(service, "waits", expires_after_s=36 * HOUR_S)
    page = admin.page
    admin.go(f"#/keys/{waits['id']}")
    page.get_by_role("button", name="Extend").click()
    dialog = page.locator("dialog[open]")
    expect(dialog.locator("p.hint")).to_have_text(
        ["The time of 1 of them waits for the first connection; it becomes longer."]
    )
    dialog.get_by_role("button", name="Extend", exact=True).click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("region", name="Details")).to_contain_text("31 days 12 hours from first use")
    _make(service, "never")
    admin.go("#/keys")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_label("Select all keys shown").check()
    page.get_by_role("region", name="Selected keys").get_by_role("button", name="Extend").click()
    expect(dialog.locator("p.hint")).to_have_text(
        [
            "The time of 1 of them waits for the first connection; it becomes longer.",
            "1 of them never expires; this does not change.",
        ]
    )


def test_its_time_is_edited_in_hours(anywhere: Visitor, service: Service) -> None:
    """Where it is no whole number of days; one that is not touched stays."""
    key = _make(service, "waits", expires_after_s=36 * HOUR_S)
    page = anywhere.page
    page.get_by_role("button", name="Edit: waits").click()
    dialog = page.locator("dialog[open]")
    time = dialog.get_by_label("Time from the first connection")
    expect(time).to_have_value("36")
    expect(dialog.get_by_label("Unit of the time")).to_have_value("3600")
    dialog.get_by_label("Note").fill("paid")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    assert service.client.get(f"/api/keys/{key['id']}").json()["expires_after_s"] == 36 * HOUR_S
    page.get_by_role("button", name="Edit: waits").click()
    time.fill("2")
    dialog.get_by_label("Unit of the time").select_option(label="days")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    assert service.client.get(f"/api/keys/{key['id']}").json()["expires_after_s"] == 48 * HOUR_S


def test_a_test_asks_before_it_begins_the_time(anywhere: Visitor, service: Service) -> None:
    """Of a key that waits; of others it begins at once."""
    key = _make(service, "waits", expires_after_s=36 * HOUR_S)
    page = anywhere.page
    anywhere.go(f"#/keys/{key['id']}")
    test = page.get_by_role("region", name="Test").get_by_role("button", name="Test now")
    test.click()
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text("(1 day 12 hours) waits for its first connection")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert service.client.get(f"/api/keys/{key['id']}").json()["expires_at"] is None
    test.click()
    dialog.get_by_role("button", name="Test now").click()
    expect(page.locator(".test-result")).to_contain_text("The link works")
    expect(page.get_by_role("region", name="Details")).not_to_contain_text("from first use")
    test.click()
    expect(page.get_by_text("Testing the link")).to_be_visible()
    expect(dialog).to_have_count(0)


@pytest.mark.parametrize(
    ("seconds", "english", "russian"),
    [
        (1, "1 second", "1 секунда"),
        (5400, "1 hour 30 minutes", "1 час 30 минут"),
        (1_912_862, "22 days 3 hours 21 minutes 2 seconds", "22 дня 3 часа 21 минута 2 секунды"),
        (864_000, "10 days", "10 дней"),
    ],
)
def test_a_term_is_shown_exactly(admin: Visitor, seconds: int, english: str, russian: str) -> None:
    """In both languages."""
    said = admin.page.evaluate(
        """async ([main, seconds]) => {
          const { chooseLanguage } = await import(main.replace("main.js", "i18n.js"));
          const { term } = await import(main.replace("main.js", "views/keys/term.js"));
          return ["en", "ru"].map((language) => (chooseLanguage(language), term(seconds)));
        }""",
        [main_module(admin.page), seconds],
    )
    assert [text.replace("\N{NO-BREAK SPACE}", " ") for text in said] == [english, russian]
