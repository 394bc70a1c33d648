"""Every view as it looks: nothing in anybody's way, nothing cut off, and a picture of each to be looked at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import ALL_WIDTHS, THEMES, WIDTHS, Theme, Visitor
from tests.support.drift import DRIFTS
from tests.support.keys import Key
from tests.support.process import wait_until
from tests.support.service import Service

pytestmark = pytest.mark.e2e

Visit = Callable[..., Visitor]

_VIEWS = {
    "keys": "#/keys",
    "key": "#/keys/{id}",
    "key-with-limits": "#/keys/{limited}",
    "overview": "#/overview",
    "state": "#/system",
    "nodes": "#/system/nodes",
    "ports": "#/system/ports",
    "targets": "#/system/targets",
    "backups": "#/system/backups",
    "tokens": "#/access",
    "webhooks": "#/access/webhooks",
    "log": "#/audit",
}
_NAMES = ("Anna Petrova", "office-router", "Дмитрий · ноутбук", "Marketing team", "trial week", "Élodie Martin")

# Every width in both themes and in both languages; every theme in both languages too.
_LOOKS: list[tuple[int, Theme, str]] = [
    (360, "light", "ru"),
    (360, "dark", "en"),
    (1440, "light", "en"),
    (1440, "dark", "ru"),
]


@pytest.fixture
def keys(service: Service) -> list[Key]:
    """Some of each kind."""
    soon = (datetime.now(UTC) + timedelta(days=12)).isoformat()
    limits: list[dict[str, object]] = [
        {},
        {"traffic_limit_bytes": 10**11, "max_devices": 3},
        {"expires_at": soon, "note": "two devices"},
    ]
    limits += [{"is_active": False}, {"expires_at": "2020-01-01T00:00:00Z"}, {"speed_limit_mbps": None}]
    bodies = [{"name": name, **limit} for name, limit in zip(_NAMES, limits, strict=True)]
    made: list[Key] = service.client.post("/api/keys/bulk", json={"keys": bodies}).raise_for_status().json()
    return made


def show(person: Visitor, view: str, keys: list[Key]) -> None:
    """Go to a view and keep a picture: no text is cut off, and nothing runs over another."""
    person.go(_VIEWS[view].format(id=keys[2]["id"], limited=keys[1]["id"]))
    expect(person.page.locator("main .loading")).to_have_count(0)
    expect(person.page.locator("main h1")).to_be_visible()
    person.picture(f"{view}-{person.width}-{person.theme}-{person.language}")
    assert person.broken() == [], view
    assert person.overflow() <= 0, view


@pytest.mark.parametrize("looks", _LOOKS, ids=lambda looks: "-".join(map(str, looks)))
def test_every_view_is_open_to_all(
    visit: Visit, service: Service, keys: list[Key], looks: tuple[int, Theme, str]
) -> None:
    """No violation of WCAG 2.2 A and AA that axe knows, on a phone and at a desk, dark and light; no column breaks."""
    person = visit(*looks)
    person.open()
    expect(person.page.locator("input[type=password]")).to_be_visible()
    name = "-".join(map(str, looks))
    assert person.obstacles() == []
    person.picture(f"sign-in-{name}")
    person.sign_in(service.api_key)
    for view in _VIEWS:
        show(person, view, keys)
        assert person.obstacles() == [], view


_BETWEEN: list[tuple[int, Theme, str]] = [(768, "light", "ru"), (820, "dark", "en"), (1024, "light", "ru")]


@pytest.mark.parametrize("looks", _BETWEEN, ids=lambda looks: "-".join(map(str, looks)))
def test_no_column_breaks_at_any_width(
    visit: Visit, service: Service, keys: list[Key], looks: tuple[int, Theme, str]
) -> None:
    """Between a phone and a desk, with the longer words of Russian too, it is as at both."""
    person = visit(*looks)
    person.sign_in(service.api_key)
    for view in _VIEWS:
        show(person, view, keys)


def test_a_phone_shows_the_code_first(visit: Visit, service: Service, keys: list[Key]) -> None:
    """The QR code and the link stand above the charts, also for the keyboard; at a desk beside them."""
    phone, *wider = ALL_WIDTHS
    for widths in ([phone], wider):
        person = visit(width=widths[0])
        person.sign_in(service.api_key, f"#/keys/{keys[0]['id']}")
        for width in widths:
            person.page.set_viewport_size({"width": width, "height": 900})
            code_is_first(person.page, is_above=width <= 1024)


def code_is_first(page: Page, *, is_above: bool) -> None:
    """The code begins before the chart ends; where there is no place beside the chart, before it begins."""
    code, chart = page.locator(".link-card .qr"), page.locator(".history")
    expect(code).to_be_visible()
    expect(chart).to_be_visible()

    def is_first() -> bool:
        places = [one.bounding_box() for one in (code, chart)]
        assert places[0] is not None
        assert places[1] is not None
        return places[0]["y"] < places[1]["y"] + (0 if is_above else places[1]["height"])

    assert wait_until(is_first)


def test_what_is_left_shows_as_soon_as_it_is_known(visit: Visit, service: Service, keys: list[Key]) -> None:
    """Not only with the next minute: for the page that never comes here."""
    person = visit()
    person.page.clock.set_fixed_time(datetime.now(UTC))
    person.sign_in(service.api_key, f"#/keys/{keys[1]['id']}")
    left = person.page.locator(".facts > div", has=person.page.get_by_text("Left", exact=True)).locator("dd")
    expect(left).to_have_text("100\u00a0GB")


def test_a_phone_shows_the_code_before_the_buttons(visit: Visit, service: Service, keys: list[Key]) -> None:
    """The whole code is in the first screen, and what changes the key comes after it, for the keyboard too."""
    person = visit(width=360)
    page = person.page
    person.sign_in(service.api_key, f"#/keys/{keys[0]['id']}")
    code, edit = page.locator(".link-card .qr"), page.get_by_role("button", name="Edit", exact=True)
    expect(code).to_be_in_viewport(ratio=1)
    expect(page.locator(".link-card ~ .key-actions")).to_have_count(1)
    person.picture("key-phone-first-screen")
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(page.locator("header .key-actions")).to_have_count(1)
    expect(edit).to_be_in_viewport()
    page.set_viewport_size({"width": 360, "height": 780})
    expect(page.locator("header .key-actions")).to_have_count(0)


@pytest.mark.parametrize(("width", "theme"), list(zip(WIDTHS, THEMES, strict=True)))
def test_so_is_every_dialog(visit: Visit, service: Service, keys: list[Key], width: int, theme: Theme) -> None:
    """Making, editing, links, extending, the plan of a repair, what is selected, and the message with Undo."""
    person = visit(width=width, theme=theme)
    page = person.page
    person.sign_in(service.api_key)

    def look(name: str) -> None:
        person.picture(f"{name}-{width}-{theme}")
        assert person.obstacles() == [], name
        assert person.broken() == [], name
        assert person.overflow() <= 0, name

    page.get_by_role("button", name="New key").first.click()
    page.get_by_text("Limits").click()
    look("dialog-new-key")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_be_in_viewport()
    look("dialog-problem")
    page.keyboard.press("Escape")
    page.get_by_role("button", name=f"Show link and QR code: {_NAMES[0]}").click()
    expect(page.locator("dialog[open] .qr")).to_have_js_property("complete", True)
    look("dialog-link")
    page.keyboard.press("Escape")
    page.get_by_role("checkbox", name=f"Select {_NAMES[0]}").check()
    page.get_by_role("checkbox", name=f"Select {_NAMES[1]}").check()
    look("selected")
    page.get_by_role("button", name=f"Delete: {_NAMES[3]}").click()
    page.get_by_role("button", name="Undo").hover()  # while the pointer is there, its time does not run
    look("undo")
    page.get_by_role("button", name="Undo").click()
    person.go("#/system")
    expect(page.get_by_text("Database, config.json and Xray agree")).to_be_visible()
    drifts = {drift.name: drift for drift in DRIFTS}
    drifts["a key missing in config.json"].make(service, keys[0])
    drifts["an inbound added to the running Xray"].make(service, keys[1])
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_text("There are differences")).to_be_visible()
    look("drift")
    page.get_by_role("button", name="Show plan: Synchronize everything").click()
    expect(page.locator("dialog[open]")).to_be_visible()
    look("dialog-plan")
    page.get_by_role("button", name="Synchronize", exact=True).click()
    expect(page.get_by_text("Database, config.json and Xray agree")).to_be_visible()


def test_motion_and_focus_are_as_wished(admin: Visitor) -> None:
    """Who wants no motion gets none; where the focus is can be seen."""
    page = admin.page
    seen = "getComputedStyle(document.activeElement).outlineStyle"

    def is_seen() -> bool:
        page.keyboard.press("Tab")  # again where the page was drawn at that moment, and the focus is nowhere
        return bool(page.evaluate(seen) == "solid")

    assert wait_until(is_seen)
    assert page.evaluate("getComputedStyle(document.querySelector('.button')).transitionDuration") == "0s"
