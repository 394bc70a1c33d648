"""A key is made with what its customer already has: UUID, short id, server name, port and fingerprint."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.conftest import SERVER_NAMES
from tests.support.agreement import agreement
from tests.support.clients import Client, SingBoxClient, XrayClient
from tests.support.keys import Key, carries, delete_key, link_of, list_keys, make_key
from tests.support.link import VlessLink
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

from vpnkeys.domain.reality import Fingerprint

pytestmark = pytest.mark.e2e

UUID = "0CA2B2D8-5f6c-4e0c-9d3d-2a4a1b7f9a10"
SHORT_ID = "0123ABcd"
WHOLE_SHORT_ID = "0123abcd00000000"  # the same to Xray and to clients, with the digits that every key has


@pytest.fixture(scope="module")
def service(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """A service whose links imitate Firefox unless told otherwise."""
    more = {"VPNKEYS_UTLS_FINGERPRINT": "firefox"}
    with Service(target, egress_allow=egress, port_count=8, settings=more) as service:
        service.wait_ready()
        yield service


@pytest.fixture(autouse=True)
def _nothing_left(service: Service) -> Iterator[None]:
    """Database, file and Xray agree after each test, also with the keys that were refused."""
    yield
    for key in list_keys(service):
        delete_key(service, key)
    assert agreement(service) == []
    assert "Traceback" not in service.log()


def _chosen(service: Service) -> dict[str, Any]:
    port = service.ports[5]
    return {"uuid": UUID, "short_id": SHORT_ID, "sni": SERVER_NAMES[1], "port": port, "fingerprint": "safari"}


def test_a_link_from_elsewhere_works_here(service: Service, byte_server: ByteServer) -> None:
    """What was chosen is what the key has, and a real client gets through by its link."""
    chosen = _chosen(service)
    key = service.client.post("/api/keys", json={"name": "moved", **chosen}).json()
    assert {name: key[name] for name in chosen} == {**chosen, "uuid": UUID.lower(), "short_id": WHOLE_SHORT_ID}
    link = VlessLink.parse(service.client.get(f"/api/keys/{key['id']}/link").json()["vless_link"])
    assert (link.uuid, link.port, link.sni, link.fingerprint) == (UUID.lower(), chosen["port"], chosen["sni"], "safari")
    with XrayClient(link) as client:
        assert carries(client.socks, byte_server)


@pytest.mark.parametrize("field", ["uuid", "short_id", "port"])
def test_what_another_key_has_is_refused_by_name(service: Service, field: str) -> None:
    """400, which of them it was, and nothing is made; also within one request, and with zeros behind a short id."""
    first = _chosen(service)
    service.client.post("/api/keys", json={"name": "first", **first}).raise_for_status()
    value = {**first, "short_id": f"{SHORT_ID}00", "uuid": UUID.upper()}[field]
    answers = [
        service.client.post("/api/keys", json={"name": "second", field: value}),
        service.client.post("/api/keys/bulk", json={"keys": [{"name": "second", field: value}, {"name": "third"}]}),
    ]
    delete_key(service, list_keys(service)[0])
    free = {"uuid": "1ca2b2d8-5f6c-4e0c-9d3d-2a4a1b7f9a10", "short_id": "ff", "port": service.ports[6]}[field]
    twice = {"keys": [{"name": "a", field: free}, {"name": "b", field: free}]}
    answers.append(service.client.post("/api/keys/bulk", json=twice))
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (400, "already_taken")
        assert answer.json()["detail"].startswith(field)
    assert list_keys(service) == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"uuid": "no uuid"}, "invalid_choice"),
        ({"uuid": "{0ca2b2d8-5f6c-4e0c-9d3d-2a4a1b7f9a10}"}, "invalid_choice"),
        ({"short_id": "0"}, "invalid_choice"),
        ({"short_id": "0123456789abcdef00"}, "invalid_choice"),
        ({"short_id": "xy"}, "invalid_choice"),
        ({"sni": "other.example.com"}, "invalid_choice"),
        ({"port": 1}, "invalid_choice"),
        ({"port": 70000}, "invalid_request"),
        ({"port": "10001"}, "invalid_request"),
        ({"fingerprint": "android"}, "invalid_fingerprint"),
        ({"fingerprint": "360"}, "invalid_fingerprint"),
        ({"fingerprint": "netscape"}, "invalid_fingerprint"),
        ({"traffic_limit": 5}, "invalid_request"),
    ],
    ids=str,
)
def test_what_is_none_is_refused_by_name(service: Service, wrong: dict[str, Any], code: str) -> None:
    """400, the field in the sentence, no key."""
    answer = service.client.post("/api/keys", json={"name": "x", **wrong})
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert next(iter(wrong)) in answer.json()["detail"]
    assert list_keys(service) == []


def test_an_id_of_another_key_is_no_uuid(service: Service) -> None:
    """Each key is found by both: by such a UUID, another customer's key would be read and deleted."""
    first = make_key(service, "first")
    refused = service.client.post("/api/keys", json={"name": "second", "uuid": first["id"].upper()})
    assert (refused.status_code, refused.json()["code"]) == (400, "already_taken")
    drafts = {"keys": [{"name": "one"}, {"name": "two", "uuid": first["id"]}]}
    assert service.client.post("/api/keys/bulk", json=drafts).json()["code"] == "already_taken"
    assert [key["name"] for key in list_keys(service)] == ["first"]


def test_a_port_of_another_program_is_refused(service: Service) -> None:
    """Though no key has it."""
    with socket.create_server(("127.0.0.1", service.ports[3])):
        answer = service.client.post("/api/keys", json={"name": "x", "port": service.ports[3]})
    assert (answer.status_code, answer.json()["code"]) == (400, "already_taken")
    assert "another program" in answer.json()["detail"]


def test_ports_that_are_chosen_are_not_given_to_others(service: Service) -> None:
    """A key before it in the request gets the next one."""
    keys = [{"name": "any"}, {"name": "lowest", "port": service.ports[0]}, {"name": "any too"}]
    made = service.client.post("/api/keys/bulk", json={"keys": keys}).json()
    assert [key["port"] for key in made] == [service.ports[1], service.ports[0], service.ports[2]]


def test_a_key_that_was_deleted_by_mistake_comes_back(service: Service, byte_server: ByteServer) -> None:
    """The customer's link works as before. Xray still counts for its UUID; only what is new is the new key's."""
    key = make_key(service)
    link = link_of(service, key)
    with XrayClient(link) as client:
        assert carries(client.socks, byte_server)
    used = service.client.get(f"/api/keys/{key['id']}/traffic").json()["total_bytes"]
    assert used > 0
    delete_key(service, key)
    same = {name: key[name] for name in ("name", "uuid", "short_id", "sni", "port")}
    # Enough for as much once more, and too little with what was used before.
    again = service.client.post("/api/keys", json={**same, "traffic_limit_bytes": used * 3 // 2}).json()
    assert service.client.get(f"/api/keys/{again['id']}/traffic").json()["total_bytes"] == 0
    assert link_of(service, again) == link
    with XrayClient(link) as client:
        assert carries(client.socks, byte_server)
    assert service.client.get(f"/api/keys/{again['id']}/traffic").json()["total_bytes"] == used


@pytest.mark.parametrize("own", [*Fingerprint])
def test_every_fingerprint_gets_in(service: Service, byte_server: ByteServer, own: Fingerprint) -> None:
    """With a real client; of those that Xray draws itself, half do not, while sing-box draws better."""
    made = service.client.post("/api/keys", json={"name": "x", "fingerprint": own}).json()
    link = link_of(service, made)
    assert link.fingerprint == own
    client_type: type[Client] = SingBoxClient if own is Fingerprint.RANDOMIZED else XrayClient
    with client_type(link) as client:
        assert carries(client.socks, byte_server)


def test_a_fingerprint_is_everywhere_that_the_key_is(service: Service) -> None:
    """Of the server, then of the key, then of the server again: links, every subscription, and the key itself."""
    key = make_key(service)
    url = service.client.post(f"/api/keys/{key['id']}/subscription").json()["url"]
    path = httpx.URL(url).path
    for own, wanted in ((None, "firefox"), ("edge", "edge"), (None, "firefox")):
        changed = service.client.patch(f"/api/keys/{key['id']}", json={"fingerprint": own}).json()
        assert changed["fingerprint"] == own
        assert _fingerprints_in(service, key, path) == {wanted}
    assert service.client.post(f"/api/keys/{key['id']}/test", timeout=30).json()["works"]


def _fingerprints_in(service: Service, key: Key, path: str) -> set[str]:
    def of(form: str) -> str:
        return service.client.get(path, params={"format": form}).raise_for_status().text

    links = [
        service.client.get(f"/api/keys/{key['id']}/link").json()["vless_url"],
        service.client.get(f"/api/keys/{key['id']}/config").json()["client_config"],
        of("link").strip(),
        base64.b64decode(of("base64")).decode().strip(),
    ]
    return {
        *(VlessLink.parse(link).fingerprint for link in links),
        *(one["tls"]["utls"]["fingerprint"] for one in json.loads(of("sing-box"))["outbounds"] if "tls" in one),
        json.loads(of("mihomo"))["proxies"][0]["client-fingerprint"],
    }


def test_the_link_alone(service: Service) -> None:
    """Three names for the link, as the newer clients of the 2.3 line read it, and the key's two names."""
    key = make_key(service)
    link = service.client.get(f"/api/keys/{key['uuid']}/config").json()["vless_url"]
    named = {"key_id": key["id"], "key_uuid": key["uuid"]}
    wanted = {"vless_link": link, "vless_url": link, "client_config": link, **named}
    assert service.client.get(f"/api/keys/{key['id']}/link").json() == wanted
    assert service.client.get("/api/keys/none/link").status_code == httpx.codes.NOT_FOUND


def test_what_is_ignored_is_listed(service: Service) -> None:
    """For one key and for several, each for itself; a repeated request gives the same key."""
    body = {"name": "x", "telegram_id": 7, "plan": {"days": 30}}
    headers = {"Idempotency-Key": "order-1"}
    made = service.client.post("/api/keys", json=body, headers=headers).json()
    assert made["ignored_fields"] == ["telegram_id", "plan"]
    assert service.client.post("/api/keys", json=body, headers=headers).json() == made
    many = service.client.post("/api/keys/bulk", json={"keys": [{"name": "a", "tg": 1}, {"name": "b"}]}).json()
    assert [key["ignored_fields"] for key in many] == [["tg"], []]


def test_a_change_refuses_what_only_a_new_key_has(service: Service) -> None:
    """A key keeps its identity."""
    key = make_key(service)
    for name in ("uuid", "short_id", "sni"):
        answer = service.client.patch(f"/api/keys/{key['id']}", json={name: _chosen(service)[name]})
        assert answer.status_code == httpx.codes.BAD_REQUEST, answer.text


def test_the_command_line_chooses_too(service: Service) -> None:
    """For one key, and not for many."""
    chosen = _chosen(service)
    options = [
        *("--uuid", UUID, "--short-id", SHORT_ID, "--sni", chosen["sni"], "--port", str(chosen["port"])),
        *("--utls-fingerprint", "safari"),
    ]
    told = service.cli("keys", "add", "moved", *options, "--json")
    assert (told.returncode, told.stderr) == (0, "")
    key = json.loads(told.stdout)["key"]
    assert {name: key[name] for name in chosen} == {**chosen, "uuid": UUID.lower(), "short_id": WHOLE_SHORT_ID}
    many = service.cli("keys", "add", "--count", "2", "--prefix", "x", "--port", "10001")
    assert (many.returncode, many.stdout) == (2, "")
    told = service.cli("keys", "set", key["id"], "--utls-fingerprint", "none", "--json")
    assert json.loads(told.stdout)["fingerprint"] is None
    assert [one["id"] for one in list_keys(service)] == [key["id"]]
