"""Everybody at once."""

from __future__ import annotations

import random
import secrets
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.support.agreement import agreement
from tests.support.clients import XrayClient
from tests.support.keys import carries, link_of, list_keys, make_key
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

_REQUESTS = 200
_WORKERS = 20
_READS = (
    "/",
    "/health",
    "/api/keys",
    "/api/system/ports",
    "/api/system/ports/status",
    "/api/system/config-status",
    "/api/system/xray/config-status",
    "/api/system/xray/inbounds",
    "/api/system/xray/validate-sync",
)
_REPAIRS = ("sync-config", "verify-reality", "ports/reset")
_RESTARTS = ("xray/sync-config", "fix-reality-keys")


_ABOUT_A_KEY = ("", "/config", "/traffic", "/traffic/history", "/online")


def test_two_hundred_requests_of_every_kind_at_once(target: RealityTarget, byte_server: ByteServer) -> None:
    """No 5xx, no port twice, every answered creation is there, and everything agrees and works at the end."""
    with Service(target, port_count=100, egress_allow=[byte_server.egress_rule]) as service:
        service.wait_ready()
        existing = [make_key(service, f"old {number}") for number in range(20)]
        with service.new_client() as client, ThreadPoolExecutor(_WORKERS) as pool:
            answers = list(pool.map(lambda request: request(client), _mixed(existing)))

        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) <= {200, 404}, [answer.text for answer in answers if answer.status_code >= 500]
        made = {answer.json()["id"] for answer in answers if _is(answer, "POST", "/api/keys")}
        made |= {key["id"] for answer in answers if _is(answer, "POST", "/api/keys/bulk") for key in answer.json()}
        gone = {answer.request.url.path.rpartition("/")[2] for answer in answers if answer.request.method == "DELETE"}
        keys = list_keys(service)
        assert {key["id"] for key in keys} == made | {key["id"] for key in existing} - gone
        assert len({key["port"] for key in keys}) == len(keys)
        assert agreement(service) == []
        with XrayClient.many([link_of(service, key) for key in keys]) as client:
            assert all(carries(proxy, byte_server) for proxy in client.proxies)


def _is(answer: httpx.Response, method: str, path: str) -> bool:
    return (answer.request.method, answer.request.url.path) == (method, path)


def _mixed(existing: list[dict[str, str]]) -> list[Callable[[httpx.Client], httpx.Response]]:
    """Creations, deletions, reads and repairs, well shuffled; the seed is printed for who has to look again."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201
    order = random.Random(seed)  # noqa: S311  (not for secrets)
    gone, kept = existing[:15], existing[15:]

    def get(path: str) -> Callable[[httpx.Client], httpx.Response]:
        return lambda client: client.get(path)

    def post(path: str, body: object = None, **headers: str) -> Callable[[httpx.Client], httpx.Response]:
        return lambda client: client.post(path, json=body, headers=headers)

    def patch(path: str, body: object) -> Callable[[httpx.Client], httpx.Response]:
        return lambda client: client.patch(path, json=body)

    def delete(path: str) -> Callable[[httpx.Client], httpx.Response]:
        return lambda client: client.delete(path)

    requests = [post("/api/keys", {"name": f"new {number}"}) for number in range(30)]
    requests += [post("/api/keys", {"name": "same"}, **{"Idempotency-Key": "same"}) for _ in range(10)]
    requests += [delete(f"/api/keys/{key['id']}") for key in gone]
    requests += [get(f"/api/keys/{key['id']}{what}") for key in kept for what in _ABOUT_A_KEY]
    requests += [patch(f"/api/keys/{key['id']}", {"note": f"note {number}"}) for key in kept for number in range(2)]
    requests += [post("/api/keys/bulk", {"keys": [{"name": "one"}, {"name": "two"}]}) for _ in range(2)]
    requests += [post(f"/api/keys/{key['id']}/traffic/reset") for key in kept]
    requests += [post(f"/api/system/{path}") for path in (*_REPAIRS * 3, *_RESTARTS)]
    while len(requests) < _REQUESTS:
        requests.append(get(_READS[len(requests) % len(_READS)]))
    order.shuffle(requests)
    return requests
