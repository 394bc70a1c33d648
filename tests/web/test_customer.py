"""A customer's page in a browser: its apps, what is copied, times in the reader's zone, and no way in for strangers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.browser import Theme, Visitor
from tests.support.keys import Key, make_key
from tests.support.service import Service

pytestmark = pytest.mark.e2e

Visit = Callable[..., Visitor]

_LOOKS: list[tuple[int, Theme, str]] = [
    (360, "light", "ru"),
    (360, "dark", "en"),
    (768, "light", "en"),
    (1440, "dark", "ru"),
]
_SOON = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=12, hours=3)
_EXPIRY = f'time[datetime="{_SOON:%Y-%m-%dT%H:%M:%SZ}"]'


@pytest.fixture
def key(service: Service) -> Key:
    """A key with every kind of limit."""
    limits = {
        "expires_at": _SOON.isoformat(),
        "traffic_limit_bytes": 50 * 10**9,
        "traffic_limit_window": "month",
        "max_devices": 2,
    }
    made: Key = service.client.post("/api/keys", json={"name": "Анна · phone", **limits}).raise_for_status().json()
    return made


def address(service: Service, *keys: Key) -> str:
    """The customer's address, of one key or of several."""
    made = (
        service.client.post(f"/api/keys/{keys[0]['id']}/subscription")
        if len(keys) == 1
        else service.client.post("/api/subscriptions", json={"keys": [key["id"] for key in keys]})
    )
    url: str = made.raise_for_status().json()["url"]
    return url


@pytest.mark.parametrize("looks", _LOOKS, ids=lambda looks: "-".join(map(str, looks)))
def test_it_is_open_to_all(visit: Visit, service: Service, key: Key, looks: tuple[int, Theme, str]) -> None:
    """One key, and several of which one has ended; nothing that axe finds, nothing cut off."""
    ended = make_key(service, "old phone")
    service.client.patch(f"/api/keys/{ended['id']}", json={"is_active": False}).raise_for_status()
    person = visit(*looks)
    for name, url in (("customer", address(service, key)), ("customer-several", address(service, key, ended))):
        person.page.goto(url)
        expect(person.page.get_by_role("heading", level=1)).to_be_visible()
        person.picture(f"{name}-{'-'.join(map(str, looks))}")
        assert person.obstacles() == []
        assert person.overflow() <= 0
        assert person.broken() == []


def test_everything_is_copied_by_keyboard(visit: Visit, service: Service, key: Key) -> None:
    """The link and the address, by Tab and Enter; it is told when it is done."""
    url = address(service, key)
    person = visit()
    page = person.page
    page.goto(url)
    link = service.client.get(f"/api/keys/{key['id']}/config").json()["vless_url"]
    for text in (link, url):
        button = page.locator("code", has_text=text).locator("xpath=following-sibling::button[1]")
        for _ in range(60):
            page.keyboard.press("Tab")
            if button.evaluate("button => button === document.activeElement"):
                break
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_have_text("Copied")
        assert person.clipboard() == text


def test_a_text_that_cannot_be_copied_is_selected(visit: Visit, service: Service, key: Key) -> None:
    """Where the browser refuses, the customer needs one press more, and is told so."""
    person = visit()
    page = person.page
    page.add_init_script("navigator.clipboard.writeText = () => Promise.reject(new Error('no'))")
    url = address(service, key)
    page.goto(url)
    page.get_by_role("button", name="Copy").last.click()
    expect(page.get_by_role("status")).to_contain_text("copy it yourself")
    assert page.evaluate("getSelection().toString()") == url


def test_times_are_the_readers_own(visit: Visit, service: Service, key: Key) -> None:
    """In the zone of the browser, which is named; days left are counted."""
    for zone, hours, name in (("Asia/Yekaterinburg", 5, "+5"), ("UTC", 0, "UTC")):
        person = visit(zone=zone)
        person.page.goto(address(service, key))
        shown = person.page.locator(_EXPIRY)
        expect(shown).to_contain_text((_SOON + timedelta(hours=hours)).strftime("%H:%M"))
        expect(shown).to_contain_text(name)
        expect(person.page.get_by_text("13 days left")).to_be_visible()
        expect(person.page.get_by_text("0 of 2 devices online now")).to_be_visible()


def test_the_apps_of_other_systems_are_one_press_away(visit: Visit, service: Service, key: Key) -> None:
    """Those of the browser's own system are seen at once."""
    person = visit()
    page = person.page
    page.goto(address(service, key))
    expect(page.get_by_role("heading", name="Linux")).to_be_visible()
    expect(page.get_by_role("heading", name="Android")).to_be_hidden()
    page.get_by_text("Another device").click()
    for system in ("Android", "iOS", "Windows", "macOS"):
        expect(page.get_by_role("heading", name=system)).to_be_visible()
    for app in ("v2rayNG", "V2RayTun", "Streisand", "Shadowrocket"):
        expect(page.get_by_role("link", name=f"Add to {app}").first).to_be_visible()


def test_it_works_without_a_script(visit: Visit, service: Service, key: Key) -> None:
    """The link can be taken, the time is in UTC, and there is no button that does nothing."""
    person = visit()
    context: Any = person.browser.new_context(ignore_https_errors=True, java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(address(service, key))
        expect(page.locator(_EXPIRY)).to_have_text(_SOON.strftime("%Y-%m-%d %H:%M UTC"))
        expect(page.locator("svg.qr")).to_be_visible()
        expect(page.get_by_role("button")).to_have_count(0)
    finally:
        context.close()
