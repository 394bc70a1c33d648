"""Signing in and out: the token goes to the server once, and stays nowhere in the browser."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.support.browser import Visitor
from tests.support.keys import make_key
from tests.support.service import Service

pytestmark = pytest.mark.e2e

Visit = Callable[..., Visitor]


def test_whoever_has_a_token_gets_in_and_out(visit: Visit, service: Service) -> None:
    """Also after a reload; once out, the cookie opens nothing."""
    person = visit()
    person.sign_in(service.api_key)
    person.page.reload()
    expect(person.page.get_by_role("heading", name="Keys")).to_be_visible()
    cookie = person.context.cookies()[0]
    person.page.get_by_role("button", name="Sign out").click()
    expect(person.page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert person.context.cookies() == []
    with service.new_client(api_key="") as thief:
        thief.cookies.set(cookie["name"], cookie["value"])
        assert thief.get("/api/keys").status_code == 401


def test_the_token_is_out_of_reach_of_scripts(visit: Visit, service: Service) -> None:
    """No storage, address or document holds it or any other secret; the cookie is the server's alone."""
    make_key(service, "somebody")
    person = visit()
    person.sign_in(service.api_key)
    expect(person.page.get_by_role("link", name="somebody")).to_be_visible()
    kept = person.page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
    assert set(json.loads(kept)) <= {"vpnkeys.signed-in", "vpnkeys.language", "vpnkeys.theme"}
    assert person.page.evaluate("document.cookie") == ""
    for text in (kept, person.page.content(), person.page.url):
        assert service.api_key not in text
    cookie = person.context.cookies()[0]
    assert cookie["name"].startswith("__Host-")
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")


def test_a_wrong_token_is_refused_in_words(visit: Visit) -> None:
    """The field keeps the focus, so that the next try needs no mouse."""
    person = visit()
    person.expected.add(401)
    person.open()
    person.page.get_by_label("API token").fill("not-a-token-of-this-server")
    person.page.get_by_role("button", name="Sign in").click()
    expect(person.page.get_by_role("alert")).to_contain_text("is not valid")
    expect(person.page.get_by_label("API token")).to_be_focused()


def test_a_session_that_ends_leads_to_the_form(visit: Visit, service: Service) -> None:
    """When the token is revoked while somebody looks at the page."""
    made = service.client.post("/api/tokens", json={"name": "short", "scope": "keys"}).json()
    person = visit()
    person.sign_in(made["token"])
    person.expected.add(401)
    service.client.delete(f"/api/tokens/{made['id']}").raise_for_status()
    person.page.get_by_role("button", name="New key").first.click()  # it asks which nodes there are
    expect(person.page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_deep_link_survives_the_form(visit: Visit, service: Service) -> None:
    """Whoever follows a link to a key signs in, and is there."""
    key = make_key(service, "linked")
    person = visit()
    person.sign_in(service.api_key, f"#/keys/{key['id']}")
    expect(person.page.get_by_role("heading", name="linked")).to_be_visible()


@pytest.mark.parametrize(("scope", "may_change"), [("read", False), ("keys", True)])
def test_a_small_token_sees_what_it_may(
    visit: Visit, service: Service, token: Callable[[str], str], scope: str, may_change: bool
) -> None:
    """Nothing is offered that would be refused, and nothing is asked for that is not theirs."""
    key = make_key(service, "shared")
    person = visit()
    person.sign_in(token(scope))
    page = person.page
    expect(page.get_by_role("link", name="shared")).to_be_visible()
    for name in ("New key", "Delete: shared", "Edit: shared", "Disable: shared"):
        assert page.get_by_role("button", name=name).count() == may_change
    assert page.get_by_role("link", name="Access").count() == 0
    assert page.get_by_role("link", name="Log", exact=True).count() == 0
    page.get_by_role("link", name="shared").click()
    expect(page.get_by_role("textbox", name="The link")).to_have_value(f"{_link(service, key['id'])}")
    person.go("#/system")
    expect(page.get_by_text("Database, config.json and Xray agree")).to_be_visible()
    assert page.get_by_role("button", name="Show plan").count() == 0
    assert page.get_by_role("link", name="Backups").count() == 0


def _link(service: Service, key_id: str) -> str:
    link: str = service.client.get(f"/api/keys/{key_id}/config").json()["vless_url"]
    return link
