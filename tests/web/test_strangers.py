"""What strangers write is shown as they wrote it, and is never more than text."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from tests.support.agreement import read_config
from tests.support.browser import Visitor
from tests.support.drift import inbound_of, write_config
from tests.support.keys import Key
from tests.support.service import Service

pytestmark = pytest.mark.e2e

_ATTACKS = (
    "<img src=x onerror=window.pwned=1>",
    "\"><script>window.pwned=1</script><b title='",
    "'-alert(1)-' javascript:window.pwned=1 {{7*7}} ${window.pwned=1}",
    "</textarea></title><svg/onload=window.pwned=1>",
    "\u202egnp.exe \u2066left\u2067right",
    "__proto__",
    "&lt;b&gt; &amp; %3Cscript%3E \\u003cb\\u003e",
    "W" * 128,
)

_VIEWS = (
    "#/keys",
    "#/overview",
    "#/system",
    "#/system/ports",
    "#/system/targets",
    "#/system/nodes",
    "#/access",
    "#/audit",
)


def _harmless(page: Page) -> None:
    """No script of theirs ran, and no element of theirs is there."""
    assert page.evaluate("window.pwned") is None
    assert page.locator("img:not(.qr), b[title], title ~ svg, body script").count() == 0


@pytest.fixture
def strangers(service: Service) -> list[Key]:
    """A key for each attack, in its name and its note; tokens too, and the log tells of all of them."""
    for attack in _ATTACKS[:4]:
        service.client.post("/api/tokens", json={"name": attack, "scope": "read"}).raise_for_status()
    made = [service.client.post("/api/keys", json={"name": name, "note": name * 4}) for name in _ATTACKS]
    for one in made:
        key = one.raise_for_status().json()
        service.client.patch(f"/api/keys/{key['id']}", json={"note": "was " + key["note"]}).raise_for_status()
    return [one.json() for one in made]


def test_in_no_view_it_is_more_than_text(anywhere: Visitor, strangers: list[Key]) -> None:
    """In lists, maps, charts and the log; and no view becomes wider than the window by it."""
    for view in _VIEWS:
        anywhere.go(view)
        expect(anywhere.page.locator("main h1")).to_be_visible()
        expect(anywhere.page.locator("main .loading")).to_have_count(0)
        _harmless(anywhere.page)
        assert anywhere.overflow() <= 0, view
    anywhere.go("#/keys")
    names = anywhere.page.locator("tbody th .name")
    expect(names).to_have_count(len(strangers))
    assert names.all_text_contents() == [key["name"] for key in strangers]


def test_nor_on_the_key_s_own_page(admin: Visitor, strangers: list[Key]) -> None:
    """Nor in its dialogs, its messages, and the name of the file with its link."""
    for key in strangers:
        _is_harmless_alone(admin, key)


def _is_harmless_alone(admin: Visitor, key: Key) -> None:
    """The page of one key."""
    page = admin.page
    admin.go(f"#/keys/{key['id']}")
    expect(page.get_by_role("heading", level=1)).to_have_text(key["name"])
    page.get_by_role("button", name="Edit").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value(key["name"])
    page.keyboard.press("Escape")
    with page.expect_download() as link:
        page.get_by_role("button", name="Text file").click()
    assert not set(link.value.suggested_filename) & set('<>"/\\:&%')
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#toasts")).to_contain_text(f"Deleting \u2068{key['name'][:30]}")
    page.get_by_role("button", name="Undo").click()
    _harmless(page)
    assert admin.overflow() <= 0


def test_nor_what_is_read_from_files_and_errors(admin: Visitor, service: Service) -> None:
    """A config.json by somebody else: its tags, and what is wrong with it, in the words of the API."""
    page = admin.page
    key = service.client.post("/api/keys", json={"name": "victim"}).json()
    document = read_config(service)
    # Xray would accept this: what it refuses is repaired within seconds, perhaps before a slow browser has asked.
    inbound = inbound_of(document, key)
    inbound["tag"] = "key-<img src=x onerror=window.pwned=1>"
    inbound["settings"]["clients"] = []
    write_config(service, json.dumps(document))
    admin.go("#/system")
    expect(page.locator(".findings")).to_contain_text("<img src=x")
    page.get_by_role("button", name="Show plan: Synchronize everything").click()
    expect(page.locator("dialog[open]")).to_contain_text("config.json is rewritten")
    _harmless(page)
    page.get_by_role("button", name="Synchronize", exact=True).click()
    expect(page.get_by_text("Database, config.json and Xray agree")).to_be_visible()


def test_nor_what_is_in_an_address(admin: Visitor) -> None:
    """A link somebody was lured to follow shows nothing of theirs and asks the API for nothing of theirs."""
    for address in (
        "#/keys/<img src=x onerror=window.pwned=1>",
        "#/keys/..%2f..%2fbackups",
        "#javascript:alert(1)",
        "#/%E0%A4%A",
    ):
        admin.go(address)
        expect(admin.page.locator("main h1")).to_be_visible()
        _harmless(admin.page)
    assert not [url for url in admin.requests if ".." in url or "onerror" in url]


def test_the_browser_itself_would_refuse(admin: Visitor) -> None:
    """Were there a hole, the policy closes it: no markup from text, no inline script or style, no other origin."""
    page = admin.page
    assert (
        page.evaluate("try { document.body.innerHTML = '<b>x</b>'; 'done' } catch (error) { error.name }")
        == "TypeError"
    )
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            try { script.textContent = "window.pwned = 1"; } catch {}
            document.body.append(script);
            document.body.setAttribute("style", "opacity: 0");
            return fetch("https://example.com/").catch(() => null);
        }"""
    )
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("getComputedStyle(document.body).opacity") == "1"
    told = " ".join(admin.complaints)
    for directive in ("require-trusted-types-for", "style-src", "connect-src"):
        assert directive in told
    admin.complaints.clear()
    admin.requests[:] = [url for url in admin.requests if "example.com" not in url]
