"""What the user's page shows is what the service answers, block by block and `curl` line by line."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.keys import Key, make_key
from tests.support.page import Documented, curl_lines, differences, endpoints
from tests.support.service import Service

pytestmark = pytest.mark.e2e

ENDPOINTS = endpoints()
CURLS = curl_lines()

FIXED = {
    "message", "status", "version", "source",
}  # fmt: skip


@pytest.fixture
def key(service: Service) -> Iterator[Key]:
    """A key of the test's own, gone afterwards."""
    key = make_key(service, "user@example.com")
    yield key
    service.client.delete(f"/api/keys/{key['id']}")


def test_the_page_is_read_whole() -> None:
    """The page's eighteen endpoints and eleven commands are what the tests below go through."""
    assert len(ENDPOINTS) == 18
    assert len(CURLS) == 11


@pytest.mark.parametrize("shown", ENDPOINTS, ids=lambda shown: shown.id)
def test_each_answer_has_the_fields_and_types_of_the_page(service: Service, key: Key, shown: Documented) -> None:
    """Same fields, same types, same form of values, status 200; more fields are welcome."""
    path = shown.path.replace("{key_id}", key["id"])
    answer = service.client.request(shown.method, path, json=shown.body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert not differences(shown.answer, answer.json()), answer.text
    _delete_if_made(service, shown, answer.json())


@pytest.mark.parametrize("shown", ENDPOINTS, ids=lambda shown: shown.id)
def test_fixed_words_are_the_page_s_own(service: Service, key: Key, shown: Documented) -> None:
    """`message`, `status`, `version` and `source` are word for word what clients compare with."""
    path = shown.path.replace("{key_id}", key["uuid"])
    answer = service.client.request(shown.method, path, json=shown.body).json()
    if isinstance(shown.answer, dict):
        words = {name: value for name, value in shown.answer.items() if name in FIXED}
        assert {name: answer[name] for name in words} == words
    _delete_if_made(service, shown, answer)


def test_the_link_is_the_page_s(service: Service, key: Key) -> None:
    """The link has every parameter of the page's, and both fields are the same."""
    shown = next(shown for shown in ENDPOINTS if shown.path.endswith("/config"))
    answer = service.client.get(f"/api/keys/{key['id']}/config").json()
    assert answer["client_config"] == answer["vless_url"]
    assert answer["short_id"] == answer["key"]["short_id"] == key["short_id"]
    names = re.findall(r"[?&](\w+)=", shown.answer["vless_url"])
    assert [name for name in re.findall(r"[?&](\w+)=", answer["vless_url"]) if name in names] == names


@pytest.mark.parametrize("line", CURLS, ids=range(len(CURLS)))
def test_each_documented_command_works(service: Service, key: Key, line: str) -> None:
    """Each `curl` line of the page, with the address, the API key and the id filled in, answers 200 with JSON."""
    words = shlex.split(
        line.replace("https://SERVER_ADDRESS:8000", service.base_url)
        .replace("your-api-key", service.api_key)
        .replace("{key_id}", key["id"])
    )
    command = [*words, "--insecure", "--silent", "--write-out", "\n%{http_code}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    body, _, status = done.stdout.rpartition("\n")
    assert status == "200", body
    made: Any = json.loads(body)
    if "-X POST" in line and "-d" in words:
        service.client.delete(f"/api/keys/{made['id']}")


def _delete_if_made(service: Service, shown: Documented, answer: Any) -> None:  # noqa: ANN401  (any JSON)
    if shown.method == "POST" and shown.path == "/api/keys":
        service.client.delete(f"/api/keys/{answer['id']}")
