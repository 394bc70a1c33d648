"""Pictures of every view, to be looked at: with no key, three, a hundred and a thousand; at every width.

By default a choice in which each count, width, theme and language occurs; `./test --soak` takes all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import pytest
from playwright.sync_api import expect

from tests.support.browser import ALL_WIDTHS, THEMES, Theme, Visitor
from tests.support.many_keys import with_many
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

Visit = Callable[..., Visitor]
Look = tuple[int, int, Theme, str]

_COUNTS = (0, 3, 100, 1000)
_VIEWS = ("overview", "keys", "system", "system/ports", "system/targets", "system/backups", "access", "access/webhooks")
_CHOICE: list[Look] = [
    (0, 360, "dark", "ru"),
    (3, 768, "light", "en"),
    (100, 820, "dark", "ru"),
    (1000, 1024, "light", "ru"),
    (0, 1440, "dark", "en"),
]
_ON_A_PHONE: Look = (1000, 360, "light", "ru")


def name_of(look: Look) -> str:
    """What a picture is called after."""
    return "-".join(map(str, look))


@pytest.mark.parametrize("look", [*_CHOICE, pytest.param(_ON_A_PHONE, marks=pytest.mark.soak)], ids=name_of)
def test_the_list_and_the_overview_hold_any_number(visit: Visit, service: Service, look: Look) -> None:
    """Nothing is cut off, and nothing stands in anybody's way."""
    count, *looks = look
    person = visit(*looks)
    person.sign_in(service.api_key)
    if count:
        with_many(person.page, count)
    for view in ("keys", "overview"):
        person.go(f"#/{view}")
        expect(person.page.locator("main .loading")).to_have_count(0)
        person.picture(f"{view}-{name_of(look)}")
        assert person.broken() == []
        assert person.overflow() <= 0
        assert person.obstacles() == []


@pytest.fixture(scope="module", params=_COUNTS)
def crowd(request: pytest.FixtureRequest, target: RealityTarget) -> Iterator[tuple[Service, int]]:
    """A server with so many keys, all of them real."""
    with Service(target, port_count=1010) as service:
        service.wait_ready()
        if request.param:
            bodies = [{"name": f"customer {n}", "note": "" if n % 3 else "note"} for n in range(request.param)]
            service.client.post("/api/keys/bulk", json={"keys": bodies}, timeout=600).raise_for_status()
        yield service, request.param


@pytest.mark.soak
def test_every_view_at_every_width(crowd: tuple[Service, int], browser: object) -> None:
    """In both themes and languages."""
    service, count = crowd
    first = service.client.get("/api/keys").raise_for_status().json()[:1]
    views = [*_VIEWS, *(f"keys/{key['id']}" for key in first), "audit"]
    for width, theme, language in product(ALL_WIDTHS, THEMES, ("en", "ru")):
        with Visitor(browser, service.base_url, width, theme, language) as person:  # type: ignore[arg-type]
            person.sign_in(service.api_key)
            for view in views:
                person.go(f"#/{view}")
                expect(person.page.locator("main .loading")).to_have_count(0, timeout=60_000)
                for picture in person.page.locator("main img").all():
                    expect(picture).to_have_js_property("complete", True)
                shown = "key" if view.startswith("keys/") else view.replace("/", "-")
                person.picture(f"all-{shown}-{count}-{width}-{theme}-{language}")
                assert person.broken() == [], view
                assert person.overflow() <= 0, view
            person.check()


@pytest.mark.parametrize("language", ["en", "ru"])
def test_what_is_empty_says_what_to_do_next(visit: Visit, service: Service, language: str) -> None:
    """In a sentence below its heading; what has no use yet is not offered, and no line is broken."""
    person = visit(360, language=language)
    page = person.page
    person.sign_in(service.api_key)
    for view in ("overview", "keys", "system/backups", "access", "access/webhooks"):
        person.go(f"#/{view}")
        expect(page.locator("main .loading")).to_have_count(0)
        expect(page.locator(".empty-title + p").first).to_be_visible()
    person.go("#/system/ports")
    expect(page.locator(".port-map")).to_be_visible()
    expect(page.locator("main .button")).to_have_count(0)
    person.go("#/system")
    expect(page.locator(".strip")).to_have_count(3)
    for text in page.locator(".strip > .muted").all():
        assert text.evaluate("text => text.getClientRects().length") == 1
    expect(page.locator(".drift .legend")).to_have_count(0)
