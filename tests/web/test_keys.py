"""Keys in the dashboard: found, made, changed and handed out, on a phone and at a desk."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Visitor
from tests.support.keys import list_keys, make_key
from tests.support.service import Service

pytestmark = pytest.mark.e2e

Visit = Callable[..., Visitor]


def _expect_names(page: Page, *names: str) -> None:
    expect(page.locator("tbody th .name")).to_have_text(names)


class TestTheList:
    """Search, status, order."""

    @pytest.fixture(autouse=True)
    def some_keys(self, service: Service) -> None:
        """Three keys: one with a note, one switched off."""
        service.client.post("/api/keys", json={"name": "Äpfel 10", "note": "pays in autumn"}).raise_for_status()
        service.client.post("/api/keys", json={"name": "äpfel 9", "is_active": False}).raise_for_status()
        service.client.post("/api/keys", json={"name": "Борис"}).raise_for_status()

    def test_it_is_searched_by_all_that_is_known(self, anywhere: Visitor) -> None:
        """Words of names and notes in any case, and ports; the number found is told."""
        page = anywhere.page
        search = page.get_by_role("searchbox")
        for text, found in {"ÄPFEL": 2, "autumn 10": 1, "борис": 1}.items():
            search.fill(text)
            expect(page.locator("tbody tr")).to_have_count(found)
        expect(page.locator(".count")).to_have_text("1 of 3 keys")
        search.fill("nobody")
        expect(page.get_by_text("Nothing matches")).to_be_visible()
        page.get_by_role("button", name="Show all keys").click()
        expect(page.locator("tbody tr")).to_have_count(3)

    def test_it_is_sorted_as_people_sort(self, admin: Visitor) -> None:
        """Numbers by value, letters without regard to case; a second press turns it round, and the head says so."""
        page = admin.page
        head = page.get_by_role("columnheader", name="Name")
        head.get_by_role("button").click()
        _expect_names(page, "äpfel 9", "Äpfel 10", "Борис")
        expect(head).to_have_attribute("aria-sort", "ascending")
        head.get_by_role("button").click()
        _expect_names(page, "Борис", "Äpfel 10", "äpfel 9")
        expect(head).to_have_attribute("aria-sort", "descending")

    def test_it_is_filtered_by_status(self, anywhere: Visitor) -> None:
        """With how many there are of each."""
        page = anywhere.page
        status = page.get_by_label("Status", exact=True).locator("visible=true").first
        status.select_option(label="Disabled · 1")
        expect(page.locator("tbody tr")).to_have_count(1)
        _expect_names(page, "äpfel 9")

    def test_what_others_do_shows_by_itself(self, admin: Visitor, service: Service) -> None:
        """A key made, renamed and deleted by the API comes, changes and goes without a reload."""
        page = admin.page
        expect(page.locator("tbody tr")).to_have_count(3)
        key = make_key(service, "newcomer")
        expect(page.get_by_role("link", name="newcomer")).to_be_visible()
        service.client.patch(f"/api/keys/{key['id']}", json={"name": "renamed", "is_active": False}).raise_for_status()
        row = page.locator("tr", has_text="renamed")
        expect(row.locator(".badge")).to_have_text("Disabled")
        service.client.delete(f"/api/keys/{key['id']}").raise_for_status()
        expect(row).to_have_count(0)


class TestMaking:
    """New keys."""

    def test_a_key_with_limits_is_made_and_handed_out(self, anywhere: Visitor, service: Service) -> None:
        """The form says in all what the API is told, and the link with its picture follows at once."""
        page = anywhere.page
        page.get_by_role("button", name="New key").first.click()
        dialog = page.locator("dialog[open]")
        dialog.get_by_label("Name", exact=True).fill("Мария")
        dialog.get_by_label("Note").fill("two\nlines")
        dialog.get_by_text("Limits").click()
        dialog.get_by_role("button", name="+30 days").click()
        dialog.get_by_label("Traffic", exact=True).fill("1.5")
        dialog.get_by_label("Per", exact=True).select_option(label="a month")
        dialog.get_by_label("Devices").fill("2")
        dialog.get_by_role("button", name="Create").click()
        expect(page.get_by_role("heading", name="Link")).to_be_visible()
        picture = page.locator("dialog[open] .qr")
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("image => image.naturalWidth") > 0
        (key,) = list_keys(service)
        assert (key["name"], key["note"], key["max_devices"]) == ("Мария", "two\nlines", 2)
        assert (key["traffic_limit_bytes"], key["traffic_limit_window"]) == (1_500_000_000, "month")
        expires = datetime.fromisoformat(key["expires_at"]).replace(tzinfo=UTC)
        assert abs(expires - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=2)

    def test_several_are_made_at_once(self, admin: Visitor, service: Service) -> None:
        """One name on each line; empty lines are nobody."""
        page = admin.page
        page.get_by_role("button", name="New key").first.click()
        page.get_by_label("Several at once").check()
        page.get_by_label("Names", exact=True).fill("one\n\n two \nthree\n")
        page.get_by_role("button", name="Create").click()
        expect(page.locator("tbody tr")).to_have_count(3)
        assert [key["name"] for key in list_keys(service)] == ["one", "two", "three"]

    def test_what_cannot_be_is_said_in_the_dialog(self, admin: Visitor, service: Service) -> None:
        """By the page where it knows, else in the API's own words with its code; nothing typed is lost."""
        admin.expected.add(400)
        page = admin.page
        page.get_by_role("button", name="New key").first.click()
        dialog = page.locator("dialog[open]")
        dialog.get_by_role("button", name="Create").click()
        expect(dialog.get_by_role("alert")).to_contain_text("1 to 128 characters")
        name = dialog.get_by_label("Name", exact=True)
        expect(name).to_be_focused()
        name.fill("too many devices")
        dialog.get_by_text("Limits").click()
        dialog.get_by_label("Devices").fill("1001")
        dialog.get_by_role("button", name="Create").click()
        expect(dialog.get_by_role("alert")).to_contain_text("max_devices")
        expect(dialog.get_by_role("alert")).to_contain_text("invalid_request")
        expect(name).to_have_value("too many devices")
        assert list_keys(service) == []


class TestChanging:
    """Keys that are there."""

    def test_name_and_limits_are_edited(self, anywhere: Visitor, service: Service) -> None:
        """What is not touched stays to the microsecond."""
        made = service.client.post("/api/keys", json={"name": "before", "expires_at": "2099-01-02T03:04:05.678"}).json()
        page = anywhere.page
        page.get_by_role("button", name="Edit: before").click()
        page.get_by_label("Name", exact=True).fill("after")
        page.get_by_label("Traffic", exact=True).fill("20")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("link", name="after")).to_be_visible()
        key = service.client.get(f"/api/keys/{made['id']}").json()
        assert (key["name"], key["traffic_limit_bytes"]) == ("after", 20_000_000_000)
        assert key["expires_at"] == made["expires_at"]

    def test_a_key_is_switched_off_and_on(self, anywhere: Visitor, service: Service) -> None:
        """By one button, which then says the other."""
        make_key(service, "switch")
        page = anywhere.page
        page.get_by_role("button", name="Disable: switch").click()
        expect(page.locator(".badge")).to_have_text("Disabled")
        assert [key["is_active"] for key in list_keys(service)] == [False]
        page.get_by_role("button", name="Enable: switch").click()
        expect(page.locator(".badge")).to_have_text("Active")

    def test_many_are_changed_together(self, anywhere: Visitor, service: Service) -> None:
        """Extended, switched off, on, and their links copied: those that were chosen and no others."""
        names = ["one", "two", "three"]
        until = {"expires_at": "2099-01-01T00:00:00"}
        keys = [service.client.post("/api/keys", json={"name": name} | until).json() for name in names]
        page = anywhere.page
        for name in ("one", "two"):
            page.get_by_role("checkbox", name=f"Select {name}").check()
        bulk = page.get_by_role("region", name="Selected keys")
        expect(bulk).to_contain_text("2 selected")
        bulk.get_by_role("button", name="Copy links").click()
        expect(page.get_by_text("2 links copied")).to_be_visible()
        links = [service.client.get(f"/api/keys/{key['id']}/config").json()["vless_url"] for key in keys[:2]]
        assert anywhere.clipboard().split() == links
        bulk.get_by_role("button", name="Extend").click()
        page.locator("dialog[open]").get_by_label("By").fill("31")
        page.locator("dialog[open]").get_by_role("button", name="Extend", exact=True).click()
        expect(page.locator("dialog[open]")).to_have_count(0)
        assert [key["expires_at"][:10] for key in list_keys(service)] == ["2099-02-01", "2099-02-01", "2099-01-01"]
        bulk.get_by_role("button", name="Disable").click()
        expect(page.locator(".badge.disabled")).to_have_count(2)
        assert [key["is_active"] for key in list_keys(service)] == [False, False, True]


class TestHandingOut:
    """Links."""

    def test_a_new_link_is_made_and_shown(self, anywhere: Visitor, service: Service) -> None:
        """What is chosen is new, the card shows the new link, and nothing happens without a confirmation."""
        key = make_key(service, "leaked")
        page = anywhere.page
        anywhere.go(f"#/keys/{key['id']}")
        shown = page.get_by_role("textbox", name="The link")
        old = shown.input_value()
        page.get_by_role("button", name="New link…").click()
        dialog = page.locator("dialog[open]")
        expect(dialog).to_contain_text("stops working at once")
        dialog.get_by_role("button", name="Cancel").click()
        assert list_keys(service)[0]["uuid"] == key["uuid"]
        page.get_by_role("button", name="New link…").click()
        dialog.get_by_label("Another short ID").uncheck()
        dialog.get_by_role("button", name="Make the new link").click()
        expect(dialog).to_have_count(0)
        expect(shown).not_to_have_value(old)
        now = service.client.get(f"/api/keys/{key['id']}/config").json()
        assert shown.input_value() == now["vless_url"]
        assert now["key"]["uuid"] != key["uuid"]
        assert now["key"]["short_id"] == key["short_id"]

    def test_the_link_is_copied_shown_and_downloaded(self, anywhere: Visitor, service: Service, tmp_path: Path) -> None:
        """Always the very link of the API."""
        key = make_key(service, "Ольга/../x")
        link = service.client.get(f"/api/keys/{key['id']}/config").json()["vless_url"]
        page = anywhere.page
        page.get_by_role("button", name="Copy link: Ольга/../x").click()
        expect(page.get_by_text("Link copied")).to_be_visible()
        assert anywhere.clipboard() == link
        page.get_by_role("button", name="Show link and QR code: Ольга/../x").click()
        expect(page.get_by_role("textbox", name="The link")).to_have_value(link)
        with page.expect_download() as text:
            page.get_by_role("button", name="Text file").click()
        assert text.value.suggested_filename == "Ольга-..-x.txt"
        text.value.save_as(tmp_path / "link")
        assert (tmp_path / "link").read_text() == f"{link}\n"
        with page.expect_download() as picture:
            page.get_by_role("link", name="QR picture").click()
        picture.value.save_as(tmp_path / "qr")
        assert "<svg" in (tmp_path / "qr").read_text()
        assert picture.value.suggested_filename == "Ольга-..-x.svg"


def test_by_keyboard_alone(admin: Visitor, service: Service) -> None:
    """Made, looked at, deleted and taken back without a mouse; the focus is never lost on the way."""
    page = admin.page
    keys = page.keyboard
    page.get_by_role("button", name="New key").first.focus()
    keys.press("Enter")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    keys.type("by hand")
    keys.press("Enter")
    expect(page.get_by_role("textbox", name="The link")).to_be_visible()
    keys.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.get_by_role("button", name="New key").first).to_be_focused()
    keys.press("Control+k")
    expect(page.get_by_role("searchbox")).to_be_focused()
    _tab_to(page, "Delete: by hand")
    keys.press("Enter")
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    assert page.evaluate("document.activeElement !== document.body")
    page.get_by_role("button", name="New key").first.focus()
    keys.press("Control+z")
    expect(page.get_by_role("link", name="by hand")).to_be_visible()
    _tab_to(page, "by hand")
    keys.press("Enter")
    expect(page.get_by_role("heading", name="by hand")).to_be_focused()
    assert [key["name"] for key in list_keys(service)] == ["by hand"]


def _tab_to(page: Page, name: str) -> None:
    """Press Tab until something of this name has the focus, as people do."""
    for _ in range(60):
        page.keyboard.press("Tab")
        label = page.evaluate("(document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText)")
        if label == name:
            return
    raise AssertionError(f"{name!r} is not reached by Tab")


def test_a_server_that_goes_away_is_told_and_found_again(visit: Visit, service: Service) -> None:
    """Connection lost, in words; when the server is back, so is the page, after the form: sessions end with it."""
    person = visit()
    person.sign_in(service.api_key)
    expect(person.page.locator(".health")).to_have_text("All is well")
    person.expected.update({401, 503})
    service.stop()
    try:
        expect(person.page.locator(".health")).to_have_text("Connection lost")
    finally:
        service.start()
        service.wait_ready()
    expect(person.page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=60_000)
    person.complaints[:] = [line for line in person.complaints if "net::ERR" not in line]


def test_nothing_is_said_twice(service: Service) -> None:
    """The dashboard is used without any other API than the one that is described."""
    described = service.client.get("/openapi.json").json()["paths"]
    folder = Path(__file__).parents[2] / "src" / "vpnkeys" / "web" / "ui" / "js"
    used = {match for file in folder.rglob("*.js") for match in re.findall(r'"(/api/[a-z/-]+)"', file.read_text())}
    assert used
    assert {path for path in used if path not in described} <= {"/api/webhooks"}
    assert service.client.get("/ui/").status_code == httpx.codes.OK


def test_a_key_has_a_fingerprint_of_its_own(anywhere: Visitor, service: Service) -> None:
    """Chosen when it is made and changed later; the link says it at once, and the server's own comes back."""
    page = anywhere.page

    def fp() -> str:
        (key,) = list_keys(service)
        link: str = service.client.get(f"/api/keys/{key['id']}/config").raise_for_status().json()["vless_url"]
        return httpx.URL(link).params["fp"]

    page.get_by_role("button", name="New key").first.click()
    page.locator("dialog input").first.fill("slowed down")
    page.get_by_text("Limits").click()
    page.get_by_label("Browser that the client imitates").select_option("firefox")
    page.get_by_role("button", name="Create").click()
    dialog = page.get_by_role("dialog", name="Link of \u2068slowed down\u2069")
    expect(dialog.get_by_role("textbox", name="The link")).to_have_value(re.compile("fp=firefox"))
    assert dialog.locator(".button.primary").count() == 1
    expect(dialog.get_by_role("button", name="Make address")).to_be_visible()
    page.keyboard.press("Escape")
    assert fp() == "firefox"
    page.get_by_role("button", name="Edit: slowed down").click()
    page.get_by_label("Browser that the client imitates").select_option(label="as the server")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved")).to_be_visible()
    assert fp() == "chrome"
