"""Nodes in the dashboard: how each is, what is done with them, and where they show among the keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.browser import Theme, Visitor
from tests.support.keys import Key, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.simulated import SimulatedAgent, simulated_agent

pytestmark = pytest.mark.e2e

Visit = Callable[..., Visitor]
_REFRESHED_MS = 10_000
"""After so long by the page's clock the view asks again."""


@pytest.fixture
def agent(service: Service) -> Iterator[SimulatedAgent]:
    """A node elsewhere that is up."""
    with simulated_agent(service, "fra-1", group="eu") as agent:
        yield agent


def far_key(service: Service, name: str = "far away") -> Key:
    """A key on it."""
    answer = service.client.post("/api/keys", json={"name": name, "node": "fra-1"}).raise_for_status()
    return dict(answer.json())


def link(service: Service, key: Key) -> str:
    """Its link."""
    return str(service.client.get(f"/api/keys/{key['id']}/config").raise_for_status().json()["vless_url"])


def row(page: Page, name: str) -> Locator:
    """A node in the list."""
    return page.locator(".node").filter(has=page.get_by_role("heading", name=name, exact=True))


def state_of(service: Service, name: str) -> str:
    """What the server says of a node."""
    return str(service.client.get(f"/api/nodes/{name}").raise_for_status().json()["state"])


def test_a_server_alone_has_one_node_and_nothing_more(anywhere: Visitor, service: Service) -> None:
    """The view says that, and how to have more; keys show no node, and none is asked for."""
    page = anywhere.page
    make_key(service, "here")
    anywhere.go("#/system/nodes")
    expect(page.get_by_text("All keys live on this server")).to_be_visible()
    expect(page.locator(".node")).to_have_count(1)
    expect(row(page, "local")).to_contain_text("1 of")
    expect(row(page, "local").get_by_role("button")).to_have_count(0)
    anywhere.go("#/keys")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_label("Node", exact=True)).to_be_hidden()
    with page.expect_response(re.compile("/api/nodes$")):
        page.get_by_role("button", name="New key").first.click()
    expect(page.get_by_label("Where")).to_have_count(0)


def test_a_node_shows_how_it_is(anywhere: Visitor, service: Service, agent: SimulatedAgent) -> None:
    """Keys and places, traffic, load, versions; whether it has its keys, and what is wrong."""
    page = anywhere.page
    key = far_key(service)
    agent.used = {key["uuid"]: (1_000_000, 4_000_000)}
    agent.report()
    anywhere.go("#/system/nodes")
    node = row(page, "fra-1")
    for text in ("Works", "fra-1.example", "group eu", "1 of 100", "5 MB", "25 %", "yes", "Xray 26.3.27"):
        expect(node).to_contain_text(text)
    expect(node.locator(".findings")).to_be_hidden()
    agent.failing = lambda wanted: {one.id: "port_taken" for one in wanted.keys}
    agent.clock_ahead, agent.names = timedelta(hours=1), ()
    agent.report()
    page.get_by_role("button", name="Refresh").click()
    expect(node).to_contain_text("s ahead")
    expect(node).to_contain_text("No server name works there")
    expect(node).to_contain_text("1 key is not there as it should be")
    node.get_by_role("link", name="far away").click()
    expect(page.get_by_role("heading", name="far away")).to_be_visible()
    expect(page.locator(".facts")).to_contain_text("fra-1")


def test_a_silent_node_is_seen_here_and_in_the_state_of_the_server(
    admin: Visitor, service: Service, agent: SimulatedAgent
) -> None:
    """With what to do; it is well again when it is heard of."""
    page = admin.page
    agent.is_silent = True
    page.clock.install()
    admin.go("#/system/nodes")
    assert wait_until(lambda: state_of(service, "fra-1") == "silent")
    page.clock.fast_forward(_REFRESHED_MS)
    expect(row(page, "fra-1")).to_contain_text("no report for 15 seconds")
    page.get_by_role("button", name="Needs attention").click()
    expect(page.locator("dialog[open]")).to_contain_text("A node was not heard of")
    expect(page.locator("dialog[open]")).to_contain_text("vpnkeys nodes set NODE --state lost")
    page.keyboard.press("Escape")
    agent.is_silent = False
    assert wait_until(lambda: state_of(service, "fra-1") == "up")
    page.clock.fast_forward(_REFRESHED_MS)
    expect(row(page, "fra-1")).to_contain_text("Works")


def test_a_node_is_added_by_a_command_that_is_shown_once(anywhere: Visitor, service: Service) -> None:
    """By keyboard alone; it can be copied, it says how long it is valid, and its token is the one that joins."""
    page = anywhere.page
    anywhere.go("#/system/nodes")
    page.get_by_role("button", name="Add node").press("Enter")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Enter a name")
    page.keyboard.type("ams-1")
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    expect(dialog.get_by_role("heading", name=re.compile("ams-1.* is waiting"))).to_be_visible()
    command = dialog.get_by_label("Command for the new machine").input_value()
    assert command.startswith(f"sudo ./run --agent-join {service.base_url} --token vpnk_join")
    expect(dialog).to_contain_text(re.compile(r"It works once, until \d\d:\d\d \(in 1[45] minutes\)"))
    dialog.get_by_role("button", name="Copy command").press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Copied")
    assert anywhere.clipboard() == command
    page.keyboard.press("Escape")
    expect(row(page, "ams-1")).to_contain_text("Not joined yet")
    assert command.split("--token ")[1].split()[0] not in page.content()
    row(page, "ams-1").get_by_role("button", name="Remove node").press("Enter")
    expect(dialog).to_contain_text("It has no keys")
    dialog.get_by_role("button", name="Remove", exact=True).press("Enter")
    expect(page.locator(".node")).to_have_count(1)
    assert service.client.get("/api/nodes/ams-1").status_code == 404


def test_a_node_is_taken_out_and_put_back(anywhere: Visitor, service: Service, agent: SimulatedAgent) -> None:
    """The button that has the focus keeps it over news of the node."""
    page = anywhere.page
    page.clock.install()
    anywhere.go("#/system/nodes")
    node = row(page, "fra-1")
    node.get_by_role("button", name="No new keys").click()
    expect(node.locator(".badge")).to_have_text("No new keys")
    assert state_of(service, "fra-1") == "drained"
    back = node.get_by_role("button", name="Put back to work")
    back.focus()
    agent.cpu_share = 0.75
    agent.report()
    page.clock.fast_forward(_REFRESHED_MS)
    expect(node).to_contain_text("75 %")
    expect(back).to_be_focused()
    back.press("Enter")
    expect(node.locator(".badge")).to_have_text("Works")
    assert state_of(service, "fra-1") == "up"


def test_a_node_with_keys_goes_only_when_it_is_given_up(
    anywhere: Visitor, service: Service, agent: SimulatedAgent
) -> None:
    """It is said what becomes of its keys, before each of both."""
    page = anywhere.page
    key = far_key(service)
    anywhere.go("#/system/nodes")
    node, dialog = row(page, "fra-1"), page.locator("dialog[open]")
    node.get_by_role("button", name="Remove node").click()
    expect(dialog).to_contain_text("It has 1 key. Move or delete that key first")
    expect(dialog.get_by_role("button", name="Remove")).to_have_count(0)
    dialog.get_by_role("button", name="Close").last.click()
    node.get_by_role("button", name="Give up").click()
    expect(dialog).to_contain_text("Its 1 key stays in the list")
    dialog.get_by_role("button", name="Cancel").click()
    assert state_of(service, "fra-1") == "up"
    node.get_by_role("button", name="Give up").click()
    dialog.get_by_role("button", name="Give it up").click()
    expect(node.locator(".badge")).to_have_text("Given up")
    node.get_by_role("button", name="Remove node").click()
    expect(dialog).to_contain_text("Its 1 key is deleted with it")
    dialog.get_by_role("button", name="Remove with 1 key").click()
    expect(page.locator(".node")).to_have_count(1)
    assert service.client.get(f"/api/keys/{key['id']}").status_code == 404
    assert service.client.get("/api/nodes/fra-1").status_code == 404


def test_keys_move_to_another_node(anywhere: Visitor, service: Service, agent: SimulatedAgent) -> None:
    """It is asked where to; old and new links are handed out, and a key for which there is no place stays."""
    page = anywhere.page
    key = far_key(service)
    old = link(service, key)
    anywhere.go("#/system/nodes")
    node, dialog = row(page, agent.name), page.locator("dialog[open]")
    expect(row(page, "local").get_by_role("button", name="Move keys")).to_have_count(0)
    node.get_by_role("button", name="Move keys").press("Enter")
    expect(dialog).to_contain_text("Its 1 key gets a place on another node")
    anywhere.expected.add(400)
    dialog.get_by_role("button", name="Move 1 key").press("Enter")
    expect(dialog.get_by_role("alert")).to_be_visible()  # its group has no other node
    dialog.get_by_label("Where").select_option("local")
    dialog.get_by_role("button", name="Move 1 key").press("Enter")
    expect(dialog.get_by_role("heading", name="1 key has moved")).to_be_visible()
    expect(dialog).to_contain_text("far away → local:")
    new = link(service, key)
    assert new != old
    dialog.get_by_role("button", name="Copy new links").press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Copied")
    assert anywhere.clipboard() == f"{new}\n"
    with page.expect_download() as saved:
        dialog.get_by_role("button", name="Save old and new links").press("Enter")
    assert saved.value.path().read_text() == f'name,old link,new link\n"far away","{old}","{new}"\n'
    page.keyboard.press("Escape")
    expect(node.get_by_role("button", name="Move keys")).to_have_count(0)


def test_a_new_machine_takes_the_place_of_a_node(anywhere: Visitor, service: Service, agent: SimulatedAgent) -> None:
    """It is said what has to be done with the address, and the node goes on as it was until the machine has joined."""
    page = anywhere.page
    anywhere.go("#/system/nodes")
    node, dialog = row(page, agent.name), page.locator("dialog[open]")
    node.get_by_role("button", name="New machine").press("Enter")
    expect(dialog).to_contain_text("if fra-1.example leads to the new machine")
    dialog.get_by_role("button", name="Show the command").press("Enter")
    expect(dialog.get_by_role("heading", name=re.compile("may take the place of"))).to_be_visible()
    command = dialog.get_by_label("Command for the new machine").input_value()
    assert command.startswith(f"sudo ./run --agent-join {service.base_url} --token vpnk_join")
    page.keyboard.press("Escape")
    expect(node.locator(".badge")).to_have_text("Works")


def test_who_may_only_read_changes_nothing(
    visit: Visit, service: Service, agent: SimulatedAgent, token: Callable[[str], str]
) -> None:
    """The nodes are there, their buttons are not."""
    person = visit()
    person.sign_in(token("keys"), "#/system/nodes")
    expect(row(person.page, agent.name)).to_be_visible()
    expect(person.page.locator("main").get_by_role("button")).to_have_count(1)  # refresh


def test_keys_are_found_by_their_node(anywhere: Visitor, service: Service, agent: SimulatedAgent) -> None:
    """Each says where it lives, and the list shows those of one node when asked to."""
    page = anywhere.page
    far_key(service)
    make_key(service, "here")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("tbody tr").filter(has_text="far away")).to_contain_text(agent.name)
    nodes = page.get_by_label("Node", exact=True)
    expect(nodes.locator("option")).to_have_text(["All nodes", "fra-1", "local"])
    nodes.select_option("fra-1")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator(".count")).to_have_text("1 of 2 keys")
    page.get_by_role("searchbox").fill("here")
    page.get_by_role("button", name="Show all keys").click()
    expect(page.locator("tbody tr")).to_have_count(2)


@pytest.mark.parametrize(
    ("choice", "node"), [("fra-1", "fra-1"), ("any node of group eu", "fra-1"), ("local", "local"), (None, "local")]
)
def test_a_key_is_made_where_it_is_wanted(
    anywhere: Visitor, service: Service, agent: SimulatedAgent, choice: str | None, node: str
) -> None:
    """On a node, on any of a group, or where the server puts it."""
    page = anywhere.page
    page.get_by_role("button", name="New key").first.click()
    where = page.get_by_label("Where")
    expect(where).to_be_visible()
    page.get_by_label("Name", exact=True).fill("placed")
    if choice is not None:
        value = where.locator("option").filter(has_text=re.compile(f"^{choice}")).get_attribute("value")
        where.select_option(value)
    page.get_by_role("button", name="Create").click()
    expect(page.locator("dialog[open] .qr")).to_be_visible()
    (made,) = service.client.get("/api/keys").json()
    assert made["node"] == node
    assert len(agent.wanted.keys) == (node == agent.name)


def test_a_node_that_is_silent_cannot_be_chosen(admin: Visitor, service: Service, agent: SimulatedAgent) -> None:
    """A drained one neither; it is said why."""
    page = admin.page
    service.client.patch(f"/api/nodes/{agent.name}", json={"state": "drained"}).raise_for_status()
    page.get_by_role("button", name="New key").first.click()
    option = page.get_by_label("Where").locator("option[value='node fra-1']")
    expect(option).to_have_text("fra-1 · No new keys")
    expect(option).to_be_disabled()


# Every width, and every theme in both languages.
_LOOKS: list[tuple[int, Theme, str]] = [
    (360, "light", "ru"),
    (768, "light", "ru"),
    (820, "dark", "en"),
    (1024, "dark", "ru"),
    (1440, "light", "en"),
]
_MORE_LOOKS: list[tuple[int, Theme, str]] = [(360, "dark", "en"), (1440, "dark", "ru")]


def look(person: Visitor, view: str) -> None:
    """Keep a picture; nothing is in the way, cut off or wider than the window."""
    person.picture(f"{view}-{person.width}-{person.theme}-{person.language}")
    assert person.obstacles() == [], view
    assert person.broken() == [], view
    assert person.overflow() <= 0, view


@pytest.fixture
def fleet(service: Service, agent: SimulatedAgent) -> Iterator[None]:
    """A node in each state, and something wrong on one."""
    far_key(service, "Дмитрий · ноутбук")
    make_key(service, "office-router")
    agent.failing = lambda wanted: {one.id: "port_taken" for one in wanted.keys}
    agent.clock_ahead = timedelta(seconds=90)
    agent.report()
    long_name = "ams-1-with-a-long-name"
    with simulated_agent(service, long_name):
        service.client.patch(f"/api/nodes/{long_name}", json={"state": "lost"}).raise_for_status()
        service.client.post("/api/nodes", json={"name": "waits", "address": "waits.example"}).raise_for_status()
        yield
        service.client.delete("/api/nodes/waits").raise_for_status()


@pytest.mark.parametrize(
    "looks",
    [*_LOOKS, *(pytest.param(looks, marks=pytest.mark.soak) for looks in _MORE_LOOKS)],
    ids=lambda looks: "-".join(map(str, looks)),
)
@pytest.mark.usefixtures("fleet")
def test_a_fleet_is_open_to_all(visit: Visit, service: Service, looks: tuple[int, Theme, str]) -> None:
    """The view with a node in each state, its dialogs, and the keys of several nodes: nothing in the way or cut off."""
    person = visit(*looks)
    page = person.page
    person.sign_in(service.api_key)
    expect(page.locator("tbody tr")).to_have_count(2)
    look(person, "fleet-keys")
    person.go("#/system/nodes")
    expect(page.locator(".node")).to_have_count(4)
    look(person, "fleet")
    page.locator(".node").last.scroll_into_view_if_needed()
    look(person, "fleet-below")
    for place, name in enumerate(("move", "replace", "lost"), 1):
        row(page, "fra-1").get_by_role("button").nth(place).click()
        expect(page.locator("dialog[open]")).to_be_visible()
        look(person, f"dialog-{name}")
        page.keyboard.press("Escape")
    page.locator("main .card-head .button").click()
    page.locator("dialog[open] summary").click()
    look(person, "dialog-add")
    page.locator("dialog[open] input").first.fill("new-1")
    page.locator("dialog[open] .button.primary").click()
    expect(page.locator("dialog[open] textarea")).to_be_visible()
    look(person, "dialog-command")
    service.client.delete("/api/nodes/new-1").raise_for_status()
    page.keyboard.press("Escape")
    person.go("#/keys")
    page.locator("main .view-head .button").click()
    expect(page.locator("dialog[open] select").first).to_be_visible()
    look(person, "dialog-new-key-of-a-fleet")
