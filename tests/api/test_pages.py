"""The list of keys by pages, over HTTP and by the client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.keys import Key, delete_key, make_key
from tests.support.service import Service

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def keys(service: Service) -> Iterator[list[Key]]:
    """Five keys with a name of their own."""
    made = [make_key(service, name=f"page & co №{number}") for number in range(5)]
    yield made
    for one in made:
        delete_key(service, one)


def test_a_link_leads_to_the_next_page(service: Service, keys: list[Key]) -> None:
    """Until the last page, which has none; all that was asked for goes along."""
    found, url = [], "/api/keys?limit=2&search=Page+%26+co"
    for _ in range(3):
        answer = service.client.get(url)
        assert answer.status_code == 200, answer.text
        found += answer.json()
        url = str(answer.url.join(answer.links["next"]["url"])) if answer.links else ""
    assert url == ""
    assert [one["id"] for one in found] == [one["id"] for one in keys]


def test_without_parameters_it_is_the_whole_list(service: Service, keys: list[Key]) -> None:
    """As always: no page, no link."""
    answer = service.client.get("/api/keys")
    assert "link" not in answer.headers
    assert {one["id"] for one in keys} <= {one["id"] for one in answer.json()}


@pytest.mark.parametrize("query", ["limit=0", "limit=many", "after=somewhere"])
def test_a_wrong_page_is_refused(service: Service, query: str) -> None:
    """With the code of its kind."""
    answer = service.client.get(f"/api/keys?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_page")
