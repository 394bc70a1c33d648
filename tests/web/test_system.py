"""The system in the dashboard: drift seen and repaired, ports, targets, backups, the log, traffic while it flows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.support import drift
from tests.support.browser import Visitor
from tests.support.clients import XrayClient
from tests.support.keys import link_of, make_key
from tests.support.many_keys import main_module
from tests.support.service import Service
from tests.support.streams import ByteServer, transfer

pytestmark = pytest.mark.e2e

Visit = Callable[..., Visitor]

_DRIFTS = {made.name: made for made in drift.DRIFTS}
_GOOD = "Database, config.json and Xray agree"


def _differs(service: Service) -> bool:
    validation = service.client.get("/api/system/xray/validate-sync").json()["validation"]
    return not (validation["config"]["synced"] and validation["runtime"]["synced"])


@pytest.mark.parametrize(
    ("width", "name", "square", "words"),
    [
        (1440, "a key missing in config.json", "missing", "is missing"),
        (360, "a wrong short_id in config.json", "different", "shortIds"),
        (360, "an inbound added to the running Xray", "extra", "is not in the database"),
    ],
)
def test_drift_is_seen_explained_and_repaired(  # noqa: PLR0913  (two fixtures, and a row)
    visit: Visit, service: Service, *, width: int, name: str, square: str, words: str
) -> None:
    """A square of its own kind, a line in words, a plan that is shown before anything happens, and a button."""
    person = visit(width)
    person.sign_in(service.api_key)
    page = person.page
    make_key(service, "steady")
    key = make_key(service, "victim")
    person.go("#/system")
    expect(page.get_by_text(_GOOD)).to_be_visible()
    _DRIFTS[name].make(service, key)
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_text("There are differences")).to_be_visible()
    expect(page.locator(f".drift-rows .square.{square}")).to_have_count(1)
    expect(page.locator(".findings")).to_contain_text(words)
    page.get_by_role("button", name="Show plan: Synchronize everything").click()
    dialog = page.locator("dialog[open]")
    expect(dialog.get_by_role("heading", name="What would change")).to_be_visible()
    assert _differs(service), "the plan alone changes nothing"
    dialog.get_by_role("button", name="Synchronize").click()
    expect(page.get_by_text(_GOOD)).to_be_visible()
    assert not _differs(service)


@pytest.mark.parametrize(
    ("repair", "button", "endpoint"),
    [
        ("Check REALITY", "Check and repair", "/api/system/verify-reality"),
        ("Rewrite and restart Xray", "Restart Xray", "/api/system/xray/sync-config"),
        ("Restore the REALITY key pair", "Restore and restart", "/api/system/fix-reality-keys"),
    ],
)
def test_every_repair_tells_before_it_acts(
    admin: Visitor, service: Service, repair: str, button: str, endpoint: str
) -> None:
    """Also when nothing is out of line: then the plan says so, and what restarts says that too."""
    page = admin.page
    make_key(service, "steady")
    pid = service.xray_pid()
    admin.go("#/system")
    page.get_by_role("button", name=f"Show plan: {repair}").click()
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text("nothing would change")
    assert f"{service.base_url}{endpoint}" not in admin.requests
    restarts = "restarts" in dialog.inner_text() and "Open connections end" in dialog.inner_text()
    dialog.get_by_role("button", name=button).click()
    expect(page.get_by_text("Repaired")).to_be_visible()
    assert f"{service.base_url}{endpoint}" in admin.requests
    assert (service.xray_pid() != pid) == restarts


def test_ports_are_a_map(anywhere: Visitor, service: Service) -> None:
    """A field for each port, whose key a link away; handing out anew shows who would move, then moves them."""
    page = anywhere.page
    first, second = make_key(service, "first"), make_key(service, "second")
    service.client.delete(f"/api/keys/{first['id']}").raise_for_status()
    anywhere.go("#/system/ports")
    expect(page.locator(".port")).to_have_count(len(service.ports))
    expect(page.locator(".port.used")).to_have_count(1)
    page.get_by_role("button", name="Reassign ports").click()
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text("1 key gets another port")
    expect(dialog.get_by_role("row", name="second")).to_contain_text(str(second["port"]))
    dialog.get_by_role("button", name="Reassign ports").click()
    expect(dialog).to_have_count(0)
    assert service.client.get(f"/api/keys/{second['id']}").json()["port"] == first["port"]
    page.get_by_role("link", name="second").click()
    expect(page.get_by_role("heading", name="second")).to_be_visible()


def test_targets_are_listed(anywhere: Visitor, service: Service) -> None:
    """Each server name has its target, and whether it is usable."""
    anywhere.go("#/system/targets")
    for name in service.env["VPNKEYS_REALITY_SERVER_NAMES"].split(","):
        expect(anywhere.page.locator(".target", has_text=name).get_by_text("usable", exact=True)).to_be_visible()


def test_a_backup_is_made_and_taken_away(anywhere: Visitor, tmp_path: Path) -> None:
    """As a file."""
    page = anywhere.page
    anywhere.go("#/system/backups")
    page.get_by_role("button", name="Back up now").click()
    expect(page.get_by_text("Backup made")).to_be_visible()
    with page.expect_download() as backup:
        page.get_by_role("link", name="Download").first.click()
    backup.value.save_as(tmp_path / "backup")
    assert (tmp_path / "backup").stat().st_size > 1000


def test_the_log_tells_what_was_done_by_whom(anywhere: Visitor, service: Service) -> None:
    """Newest first, with what it was before and is now; a key's own page tells its part."""
    key = make_key(service, "told of")
    service.client.patch(f"/api/keys/{key['id']}", json={"max_devices": 3}).raise_for_status()
    page = anywhere.page
    anywhere.go("#/audit")
    newest = page.locator(".audit > li").first
    expect(newest).to_contain_text("Key changed")
    expect(newest).to_contain_text("devices — → 3")
    expect(newest).to_contain_text("127.0.0.1")
    newest.get_by_role("link", name="told of").click()
    expect(page.locator(".audit > li")).to_have_count(2)


def test_traffic_moves_while_it_flows(
    admin: Visitor, service: Service, byte_server: ByteServer, tls_byte_server: ByteServer
) -> None:
    """Rate, sum and customers online in the list without a reload; the chart and its table have the bytes."""
    key = make_key(service, "busy")
    page = admin.page
    row = page.locator("tr", has_text="busy")
    expect(row.locator(".usage-text")).to_have_text("0\u00a0B")
    with XrayClient(link_of(service, key), source="127.0.0.7") as client, byte_server.open(client.socks) as sock:
        transfer(sock, 100_000, 1_800_000, rate=600_000)
        expect(row.locator(".usage-text")).to_contain_text("MB")
        expect(row.locator(".devices")).to_have_text("1")
        transfer(sock, 100_000, 1_800_000, rate=600_000)
        expect(row.locator(".rate")).to_contain_text("bit/s")
    page.get_by_role("link", name="busy").click()
    expect(page.locator(".readout")).to_contain_text("MB")
    page.get_by_text("As a table").click()
    expect(page.get_by_role("table").locator("tbody tr")).to_have_count(1)
    page.get_by_role("radio", name="30 d").check()
    expect(page.locator(".readout")).to_contain_text("MB")
    page.get_by_role("button", name="Reset").click()
    page.get_by_role("button", name="Start from zero").click()
    expect(page.locator(".key-usage .usage-text")).to_have_text("0\u00a0B")
    admin.go("#/overview")
    expect(page.locator(".history .readout")).to_contain_text("MB")
    expect(page.locator(".most tbody tr")).to_have_count(1)


def test_a_link_is_tested_from_its_page(admin: Visitor, service: Service) -> None:
    """By a real client; the verdict is in words."""
    key = make_key(service, "tried")
    admin.go(f"#/keys/{key['id']}")
    admin.page.get_by_role("button", name="Test now").click()
    expect(admin.page.locator(".test-result")).to_contain_text("The link works", timeout=30_000)


def test_the_customers_page_is_shown_once(admin: Visitor, service: Service) -> None:
    """Made, copied, replaced, ended."""
    key = make_key(service, "customer")
    page = admin.page
    admin.go(f"#/keys/{key['id']}")
    page.get_by_role("button", name="Make address").click()
    shown = page.get_by_role("textbox", name="Address of the customer’s page")
    address = shown.input_value()
    assert "/sub/" in address
    page.get_by_role("button", name="New address").click()
    expect(shown).not_to_have_value(address)
    page.get_by_role("button", name="Remove address").click()
    expect(page.get_by_role("button", name="Make address")).to_be_visible()
    assert service.client.get(f"/api/keys/{key['id']}/subscription").json()["exists"] is False


def test_the_log_is_filtered(admin: Visitor, service: Service) -> None:
    """By kind, outcome, key and author; what matches nothing says so."""
    kept, gone = make_key(service, "kept"), make_key(service, "gone")
    service.client.delete(f"/api/keys/{gone['id']}").raise_for_status()
    service.client.post("/api/tokens", json={"name": "of the log", "scope": "read"}).raise_for_status()
    page = admin.page
    admin.go("#/audit")
    records = page.locator(".audit > li")
    page.get_by_label("What", exact=True).select_option("key")
    expect(records.filter(has_text="Token created")).to_have_count(0)
    page.get_by_label("Key, by name or id").fill("kept")
    expect(records).to_have_text([re.compile("Key created")])
    page.get_by_label("Key, by name or id").fill(gone["id"])
    expect(records).to_have_text([re.compile("Key deleted"), re.compile("Key created")])
    page.get_by_label("Outcome", exact=True).select_option("failed")
    expect(page.get_by_text("No record matches")).to_be_visible()
    page.get_by_label("Outcome", exact=True).select_option("")
    page.get_by_label("Who", exact=True).fill("nobody of this name")
    expect(page.get_by_text("No record matches")).to_be_visible()
    admin.go(f"#/keys/{kept['id']}")
    expect(page.locator(".audit.compact > li")).to_have_count(1)


def test_errors_of_the_server_are_told_in_russian(visit: Callable[..., Visitor], service: Service) -> None:
    """Each code has its sentence there; what names the field stays beside it."""
    person = visit(language="ru")
    person.sign_in(service.api_key)
    page = person.page
    person.expected.add(400)
    refusal = {"status": 400, "code": "already_taken", "detail": "The port 10001 is taken.", "title": "x", "type": "x"}
    page.route("**/api/keys", lambda route: route.fulfill(status=400, json=refusal))
    page.get_by_role("button", name="Новый ключ").first.click()
    page.locator("dialog input").first.fill("имя")
    page.get_by_role("button", name="Создать").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Это значение уже занято")
    expect(alert.locator("[lang=en]")).to_have_text("The port 10001 is taken.")


def test_language_and_theme_are_kept(admin: Visitor, service: Service) -> None:
    """The whole page changes its language, and says so to screen readers; both stay after a reload."""
    page = admin.page
    make_key(service, "same name")
    page.get_by_role("button", name="Русский").click()
    expect(page.get_by_role("heading", name="Ключи")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    expect(page.locator(".count")).to_have_text("1 ключ")
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.get_by_role("button", name="Тема: как в системе").click()
    page.get_by_role("button", name="Тема: светлая").click()
    expect(page.get_by_role("button", name="Тема: тёмная")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != dark
    page.reload()
    expect(page.get_by_role("button", name="Тема: тёмная")).to_be_visible()
    expect(page.get_by_role("heading", name="Ключи")).to_be_visible()


def test_everything_is_said_in_both_languages(admin: Visitor) -> None:
    """The same messages with the same places; every plural form that the language has."""
    page = admin.page
    read = "path => import(path).then(module => JSON.stringify(module.default))"
    folder = main_module(page).replace("js/main.js", "i18n/")
    english, russian = (json.loads(page.evaluate(read, f"{folder}{language}.js")) for language in ("en", "ru"))
    assert english.keys() == russian.keys()
    for name, message in english.items():
        plural = isinstance(message, dict)
        assert plural == isinstance(russian[name], dict), name
        if plural:
            assert (set(message), set(russian[name])) == ({"one", "other"}, {"one", "few", "many", "other"}), name
