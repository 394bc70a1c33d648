"""The word in the header: it turns when Xray freezes, and opens what that means, since when, and what to do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect

from tests.support.browser import Visitor
from tests.support.many_keys import main_module
from tests.support.patient import patient_service
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.target import RealityTarget
from vpnkeys.service.health.codes import TROUBLES, Code
from vpnkeys.service.health.russian import IN_RUSSIAN
from vpnkeys.xray.host.sockets import can_cut

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not can_cut(), reason="is degraded without CAP_NET_ADMIN")]

Visit = Callable[..., Visitor]

WITHIN_S = 15.0
ZONE = "Asia/Kathmandu"
FROZEN = Code.XRAY_NOT_ANSWERING


@pytest.fixture(scope="module")
def service(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """One that does not end a frozen Xray while it is looked at."""
    with patient_service(target, egress) as service:
        yield service


@contextmanager
def _frozen_xray(service: Service) -> Iterator[None]:
    service.wait_healthy()
    pid = service.xray_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_frozen_xray_turns_the_header_and_is_explained(visit: Visit, service: Service) -> None:
    """Within fifteen seconds, by the keyboard alone; the open list empties by itself, and Esc leads back."""
    visitor = visit(zone=ZONE)
    visitor.sign_in(service.api_key)
    page = visitor.page
    word = page.locator("header.top .health button")
    expect(word).to_have_text("All is well")
    with _frozen_xray(service):
        began = time.monotonic()
        expect(word).to_have_text("Needs attention")
        assert time.monotonic() - began < WITHIN_S * slowness()
        word.focus()
        page.keyboard.press("Enter")
        dialog = page.locator("dialog[open]")
        row = dialog.locator(".problem-row")
        expect(row).to_have_count(1)
        expect(row.get_by_role("heading")).to_have_text(TROUBLES[FROZEN].says)
        expect(row.locator(".cure")).to_have_text("What to do: " + TROUBLES[FROZEN].cure.replace("`", ""))
        (since,) = [problem["since"] for problem in service.client.get("/health").json()["problems"]]
        here = datetime.fromtimestamp(since, UTC).astimezone(ZoneInfo(ZONE))
        expect(row.locator("time")).to_contain_text(f"{here:%H:%M:%S}")
        assert visitor.obstacles() == []
    expect(row).to_have_count(0)
    expect(dialog).to_contain_text("Everything works.")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(word).to_be_focused()
    expect(word).to_have_text("All is well")


@contextmanager
def _without_key_pair(service: Service) -> Iterator[None]:
    reality = service.data_dir / "reality.json"
    aside = reality.rename(service.data_dir / "aside.json")
    try:
        yield
    finally:
        aside.rename(reality)


def test_the_list_speaks_russian_on_a_phone(visit: Visit, service: Service) -> None:
    """With the same table in the reader's language; what the server adds is marked as English. Nothing is too wide."""
    visitor = visit(width=360, theme="dark", language="ru")
    visitor.sign_in(service.api_key)
    page = visitor.page
    with _frozen_xray(service), _without_key_pair(service):
        word = page.get_by_role("button", name="Требует внимания")
        word.tap()
        rows = page.locator("dialog[open] .problem-row")
        other = rows.filter(has_text=Code.SECRET_MISSING)
        expect(other.get_by_role("heading")).to_have_text(IN_RUSSIAN[Code.SECRET_MISSING].says)
        expect(other.locator(".detail")).to_have_text("Подробности (на английском): reality.json")
        expect(other.locator(".detail [lang=en]")).to_have_text("reality.json")
        row = rows.filter(has_text=FROZEN)
        expect(row.get_by_role("heading")).to_have_text(IN_RUSSIAN[FROZEN].says)
        expect(row.locator(".detail")).to_be_empty()
        expect(row.locator(".cure")).to_have_text("Что делать: " + IN_RUSSIAN[FROZEN].cure.replace("`", ""))
        assert visitor.obstacles() == []
        assert visitor.overflow() <= 0


def test_the_table_is_that_of_the_server(service: Service, visit: Visit) -> None:
    """Each code, in both languages, from the page's own files."""
    page = visit().page
    page.goto(f"{service.base_url}/ui/")
    found = service.client.get(main_module(page).replace("js/main.js", "i18n/problems.json")).raise_for_status().json()
    assert {code: (texts["en"]["says"], texts["en"]["cure"]) for code, texts in found.items()} == {
        code: (trouble.says, trouble.cure) for code, trouble in TROUBLES.items()
    }
    assert {code: (texts["ru"]["says"], texts["ru"]["cure"]) for code, texts in found.items()} == {
        code: tuple(text) for code, text in IN_RUSSIAN.items()
    }
