"""What the tests of the dashboard share: Chromium, people who visit, and tokens of each scope."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from zlib import crc32

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.browser import CHROMIUM, Theme, Visitor, launch
from tests.support.service import Service

Visit = Callable[..., Visitor]
_PLACES = (("phone", 360), ("desktop", 1440))


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium for this directory. Longer must not be: while it is there, no other test can have an event loop."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: ./test sets it up")
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, service: Service) -> Iterator[Visit]:
    """People with browsers of their own; each of them is looked at in the end."""
    with ExitStack() as open_browsers:
        visitors: list[Visitor] = []

        def come(width: int = 1440, theme: Theme = "light", language: str = "en", zone: str = "UTC") -> Visitor:
            visitor = Visitor(browser, service.base_url, width, theme, language, zone)
            visitors.append(open_browsers.enter_context(visitor))
            return visitor

        yield come
        for visitor in visitors:
            visitor.check()


@pytest.fixture
def admin(visit: Visit, service: Service) -> Visitor:
    """Somebody with the API key, at a wide screen, looking at the keys."""
    visitor = visit()
    visitor.sign_in(service.api_key)
    return visitor


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let tests that ask for a visitor `anywhere` take turns: on a phone or at a desk, and on the other with --soak."""
    if "anywhere" in metafunc.fixturenames:
        turn = crc32(metafunc.function.__name__.encode()) % 2
        (name, width), (other_name, other_width) = _PLACES[turn], _PLACES[not turn]
        other = pytest.param(other_width, id=other_name, marks=pytest.mark.soak)
        metafunc.parametrize("anywhere", [pytest.param(width, id=name), other], indirect=True)


@pytest.fixture
def anywhere(request: pytest.FixtureRequest, visit: Visit, service: Service) -> Visitor:
    """The same on a phone and at a desk."""
    visitor = visit(width=request.param)
    visitor.sign_in(service.api_key)
    return visitor


@pytest.fixture(autouse=True)
def no_keys(service: Service) -> Iterator[None]:
    """Each test ends without keys."""
    yield
    ids = [key["id"] for key in service.client.get("/api/keys").json()]
    if ids:
        service.client.post("/api/keys/bulk/delete", json={"ids": ids}).raise_for_status()


@pytest.fixture
def token(service: Service) -> Callable[[str], str]:
    """Makes a token of a scope."""

    def make(scope: str) -> str:
        made = service.client.post("/api/tokens", json={"name": f"of {scope}", "scope": scope}).raise_for_status()
        text: str = made.json()["token"]
        return text

    return make
