"""The overview: the host, the server's own last minutes, and words where there is nothing to draw."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.support.browser import Visitor
from tests.support.clients import XrayClient
from tests.support.keys import link_of, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer, transfer

pytestmark = pytest.mark.e2e

Visit = Callable[..., Visitor]

_FACTS = ["Keys online", "Devices online", "Down", "Up", "Processor", "Memory", "Disk", "Address in links", "Program"]
_FACTS += ["Core", "Running for", "Certificate expires", "Newest backup"]


def fact(visitor: Visitor, name: str) -> str:
    """What stands beside a word."""
    return visitor.page.locator(".overview-grid .facts > div", has_text=name).locator("dd").inner_text()


def test_it_has_the_host_and_the_server(admin: Visitor, service: Service) -> None:
    """Load, versions, address, and how old certificate and backup are."""
    service.client.post("/api/backups").raise_for_status()
    admin.go("#/overview")
    page = admin.page
    expect(page.locator(".overview-grid .facts dt")).to_have_text(_FACTS)
    told = service.client.get("/api/system/overview").raise_for_status().json()
    assert fact(admin, "Address in links") == "127.0.0.1"
    assert fact(admin, "Program").endswith(told["version"])
    assert fact(admin, "Core").endswith(told["xray_version"])
    assert re.search(r"[\d.]+ [MGT]B of [\d.]+ [GT]B", fact(admin, "Disk").replace("\xa0", " "))
    assert "in" in fact(admin, "Certificate expires")
    assert fact(admin, "Newest backup") != "No backup yet"


def test_the_last_minutes_are_there_when_the_page_comes(
    visit: Visit, service: Service, byte_server: ByteServer
) -> None:
    """The server keeps them: who comes after the traffic still sees it, with its highest rate."""
    key = make_key(service, "busy")
    with XrayClient(link_of(service, key), source="127.0.0.7") as client, byte_server.open(client.socks) as sock:
        transfer(sock, 10_000, 3_000_000)
    service.client.get(f"/api/keys/{key['id']}/traffic").raise_for_status()

    def moved() -> bool:
        recent = service.client.get("/api/system/overview").raise_for_status().json()["recent"]
        return any(one["down_rate"] > 10_000 for one in recent)

    assert wait_until(moved)
    late = visit()
    late.sign_in(service.api_key, "#/overview")
    expect(late.page.locator(".plot.recent canvas")).to_be_visible()
    expect(late.page.get_by_text("There was no traffic in the last 15 minutes.")).to_be_hidden()
    chart = late.page.get_by_role("group", name="The last 15 minutes")
    for name in ("Down", "Up"):
        expect(chart.locator(".series", has_text=name)).to_be_visible()
    late.picture("overview-after-traffic")


def test_an_empty_chart_says_so(admin: Visitor, service: Service) -> None:
    """A key that was never used has a chart with words in place of bars, and so has a server that has just begun."""
    key = make_key(service, "unused")
    admin.go(f"#/keys/{key['id']}")
    expect(admin.page.locator(".history .chart-empty")).to_have_text("There was no traffic in this time.")
    admin.page.route("**/api/system/overview", lambda route: route.fulfill(json={**told(service), "recent": []}))
    admin.go("#/overview")
    expect(admin.page.locator(".chart-empty").first).to_contain_text("just started")


def told(service: Service) -> dict[str, object]:
    """The overview as the server answers it."""
    answer: dict[str, object] = service.client.get("/api/system/overview").raise_for_status().json()
    return answer
