"""How often one may ask, and what one is told about it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from tests.support.keys import list_keys, make_key
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e


@contextmanager
def _limited(target: RealityTarget, limits: str | None) -> Iterator[Service]:
    with Service(target, settings={"VPNKEYS_RATE_LIMITS": limits}) as service:
        service.wait_ready()
        yield service


def _told(answer: httpx.Response) -> tuple[int, int]:
    return int(answer.headers["x-ratelimit-limit"]), int(answer.headers["x-ratelimit-remaining"])


def test_the_page_s_limits_are_the_default(target: RealityTarget) -> None:
    """5 creations, 30 lists, 60 reads, 10 deletions and 3 syncs a minute, told on every answer; the next is 429."""
    with _limited(target, None) as service:
        client = service.client
        key = client.post("/api/keys", json={"name": "first"})
        assert _told(key) == (5, 4)
        path = f"/api/keys/{key.json()['id']}"
        assert _told(client.get("/api/keys")) == (30, 29)
        assert _told(client.get(path)) == (60, 59)
        assert _told(client.post("/api/system/sync-config")) == (3, 2)
        assert _told(client.delete(path)) == (10, 9)
        assert _told(client.delete(path)) == (10, 8)  # a 404 counts and tells as well
        for remaining in (3, 2, 1, 0):
            assert _told(client.post("/api/keys", json={"name": ""})) == (5, remaining)
        refused = client.post("/api/keys", json={"name": "too many"})
        assert refused.status_code == 429
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["code"] == "rate_limited"
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert 0 < int(refused.headers["x-ratelimit-reset"]) - time.time() <= 61
        assert _told(refused) == (5, 0)
        assert list_keys(service) == []


def test_the_window_moves(target: RealityTarget) -> None:
    """There is room again when the first request is old enough, not at the turn of the clock."""
    with _limited(target, "list=2/second") as service:
        client = service.client
        while [client.get("/api/keys").status_code for _ in range(3)] != [200, 200, 429]:
            pass  # a slow machine took longer than the window
        retry_after = int(client.get("/api/keys").headers["retry-after"])
        service.child.wait_for(lambda: client.get("/api/keys").status_code == 200, "room", timeout=retry_after + 1)


def test_zero_and_off_are_no_limit(target: RealityTarget) -> None:
    """`name=0` lifts one limit and leaves the others; unlimited answers do not speak of limits."""
    with _limited(target, "list=0,get=2/minute") as service:
        answers = [service.client.get("/api/keys") for _ in range(40)]
        assert {answer.status_code for answer in answers} == {200}
        assert "x-ratelimit-limit" not in answers[0].headers
        assert _told(service.client.get("/api/keys/x")) == (2, 1)
        assert _told(service.client.delete("/api/keys/x")) == (10, 9)


def test_guessing_api_keys_is_throttled_and_shuts_out_nobody_else(target: RealityTarget) -> None:
    """Ten wrong keys a minute from an address are 401, more are 429; the right key works from the same address."""
    with _limited(target, "list=0") as service, service.new_client(api_key="wrong-wrong-wrong-wrong") as guesser:
        statuses = [guesser.get("/api/keys").status_code for _ in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        told = guesser.get("/api/keys").headers
        assert int(told["retry-after"]) > 0
        assert (told["x-ratelimit-limit"], told["x-ratelimit-remaining"]) == ("10", "0")
        assert int(told["x-ratelimit-reset"]) > 0
        assert service.client.get("/api/keys").status_code == 200
        with service.new_client(api_key="") as nobody:
            assert nobody.get("/api/keys").status_code == 401
            assert nobody.get("/health").status_code == 200


def test_an_idempotency_key_makes_one_key(target: RealityTarget) -> None:
    """The same key and body again gives the first answer, at once or after a restart; another body is refused."""
    with _limited(target, "off") as service:
        headers = {"Idempotency-Key": "order 4711"}

        def ask(name: str) -> httpx.Response:
            return service.client.post("/api/keys", json={"name": name}, headers=headers)

        with ThreadPoolExecutor(8) as pool:
            answers = [answer.json() for answer in pool.map(ask, ["me"] * 8)]
        assert all(answer == answers[0] for answer in answers)
        service.kill()
        service.start()
        service.wait_ready()
        assert ask("me").json() == answers[0]
        assert ask("me ").json() == answers[0]
        other = ask("somebody else")
        assert (other.status_code, other.json()["code"]) == (400, "idempotency_key_reused")
        assert [key["id"] for key in list_keys(service)] == [answers[0]["id"]]
        token = service.client.post("/api/tokens", json={"name": "another", "scope": "keys"}).json()["token"]
        with service.new_client(api_key=token) as another:
            others = another.post("/api/keys", json={"name": "me"}, headers=headers).json()
        assert others["id"] != answers[0]["id"]
        service.client.delete(f"/api/keys/{answers[0]['id']}")
        gone = ask("me")
        assert (gone.status_code, gone.json()["code"]) == (404, "key_not_found")
        assert [key["id"] for key in list_keys(service)] == [others["id"]]
        assert make_key(service)["id"] != answers[0]["id"]
