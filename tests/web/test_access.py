"""Tokens and webhooks in the dashboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.browser import Visitor
from tests.support.many_keys import main_module
from tests.support.ports import free_port
from tests.support.process import wait_until
from tests.support.service import Service

pytestmark = pytest.mark.e2e

Visit = Callable[..., Visitor]


@pytest.fixture(autouse=True)
def no_tokens(service: Service) -> Iterator[None]:
    """Each test ends without tokens that work."""
    yield
    for token in service.client.get("/api/tokens").json():
        if token["is_valid"]:
            service.client.delete(f"/api/tokens/{token['id']}").raise_for_status()


def _opens(service: Service, token: str) -> bool:
    with service.new_client(api_key=token) as client:
        return client.get("/api/keys").status_code == httpx.codes.OK


def test_a_token_is_made_shown_once_replaced_and_revoked(anywhere: Visitor, service: Service) -> None:
    """Its text is in one dialog and nowhere after; revoking waits for second thoughts."""
    page = anywhere.page
    anywhere.go("#/access")
    page.get_by_role("button", name="New token").click()
    page.get_by_label("Name", exact=True).fill("bot")
    page.get_by_label("May").select_option(index=1)
    page.get_by_role("button", name="Create token").click()
    shown = page.get_by_role("textbox", name="The new token")
    first = shown.input_value()
    page.get_by_role("button", name="I have it").click()
    assert _opens(service, first)
    assert first not in page.content()
    page.get_by_role("button", name="Replace: bot").click()
    overlap = page.get_by_label("The old one works for")
    overlap.fill("")
    page.get_by_role("button", name="Replace", exact=True).click()
    expect(page.locator("dialog[open]").get_by_role("alert")).to_contain_text("0 ends the old token at once")
    assert _opens(service, first)
    overlap.fill("0")
    page.get_by_role("button", name="Replace", exact=True).click()
    expect(shown).not_to_have_value(first)
    second = shown.input_value()
    page.get_by_role("button", name="I have it").click()
    assert (_opens(service, first), _opens(service, second)) == (False, True)
    page.clock.install()
    page.get_by_role("button", name="Revoke: bot").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    assert _opens(service, second)
    page.clock.run_for(8_000)
    assert wait_until(lambda: not _opens(service, second))
    expect(page.locator("tr", has_text=second[:12])).to_contain_text("Revoked")


def test_the_servers_english_is_marked_in_a_russian_page(visit: Visit, service: Service) -> None:
    """What a webhook's test found, and an error that has no Russian: a screen reader reads them as English."""
    service.client.post("/api/webhooks", json={"url": f"http://127.0.0.1:{free_port()}/hook"}).raise_for_status()
    russian = visit(language="ru")
    russian.sign_in(service.api_key)
    russian.go("#/access/webhooks")
    page = russian.page
    page.get_by_role("button", name="Проверить").click()
    toast = page.locator(".toast.error")
    expect(toast).to_contain_text("Пробное сообщение не дошло. Подробности (на английском): ")
    expect(toast.locator("[lang=en]")).to_have_text("it accepts no connections")
    toast.get_by_role("button").click()
    page.evaluate(
        """async (main) => {
          const { toastError } = await import(main.replace("main.js", "toast.js"));
          toastError({ code: "of_a_newer_server", message: "It has its reasons." });
        }""",
        main_module(page),
    )
    expect(toast).to_have_text("It has its reasons. (of_a_newer_server)")
    expect(toast.locator("[lang=en]")).to_have_text("It has its reasons.")
    for hook in service.client.get("/api/webhooks").json():
        service.client.delete(f"/api/webhooks/{hook['id']}").raise_for_status()


def test_revoking_is_taken_back(admin: Visitor, service: Service) -> None:
    """In time, the token never stopped working."""
    token = service.client.post("/api/tokens", json={"name": "kept", "scope": "read"}).json()["token"]
    admin.go("#/access")
    admin.page.get_by_role("button", name="Revoke: kept").click()
    admin.page.get_by_role("button", name="Undo").click()
    expect(admin.page.get_by_role("button", name="Revoke: kept")).to_be_visible()
    assert _opens(service, token)


def test_a_webhook_is_made_tried_and_deleted(anywhere: Visitor, service: Service) -> None:
    """With the events that were chosen; its secret is shown once, and a receiver that is not there is told of."""
    page = anywhere.page
    anywhere.go("#/access/webhooks")
    page.get_by_role("button", name="New webhook").click()
    nobody = f"http://127.0.0.1:{free_port()}/hook"
    page.get_by_label("Address").fill(nobody)
    page.get_by_label("key.created").check()
    page.get_by_role("button", name="Create webhook").click()
    secret = page.get_by_role("textbox", name="The webhook’s secret").input_value()
    assert len(secret) > 20
    page.get_by_role("button", name="I have it").click()
    (made,) = service.client.get("/api/webhooks").json()
    assert (made["url"], made["events"]) == (nobody, ["key.created"])
    page.get_by_role("button", name=f"Test: {nobody}").click()
    expect(page.locator(".toast.error")).to_contain_text("did not arrive. Details: it accepts no connections")
    page.get_by_role("button", name="Dismiss").click()
    page.get_by_role("button", name=f"Delete: {nobody}").click()
    assert wait_until(lambda: service.client.get("/api/webhooks").json() == [])
