"""A range of a hundred ports holds a hundred keys, no more and no fewer, and everybody agrees about them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.support import procfs
from tests.support.agreement import agreement
from tests.support.clients import SingBoxClient, XrayClient
from tests.support.keys import Key, carries, delete_key, lasting, link_of, list_keys, make_key
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

COUNT = 100


@pytest.fixture(scope="module")
def service(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """A service with a hundred ports."""
    with Service(target, egress_allow=egress, port_count=COUNT) as service:
        service.wait_ready()
        yield service


@pytest.fixture(scope="module")
def hundred(service: Service) -> list[Key]:
    """A hundred keys, asked for four at a time."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda number: make_key(service, f"key {number}"), range(COUNT)))


@pytest.fixture
def full(service: Service, hundred: list[Key]) -> list[Key]:
    """The keys at this moment, which take every port."""
    keys = list_keys(service)
    assert len(keys) == len(hundred)
    return keys


def refusal(service: Service) -> tuple[int, str]:
    """(status, code) of an attempt to make one more key."""
    answer = service.client.post("/api/keys", json={"name": "one too many"})
    return answer.status_code, answer.json().get("code", "")


def test_a_hundred_keys_are_all_different_and_all_there(service: Service, full: list[Key]) -> None:
    """Every port of the range once, every short id, UUID and id once; database, file and Xray agree."""
    assert sorted(key["port"] for key in full) == list(service.ports)
    for field in ("id", "uuid", "short_id"):
        assert len({key[field] for key in full}) == COUNT
    assert agreement(service) == []
    xray = [service.xray_pid()]
    assert [port for port in service.ports if not procfs.listens(xray, "127.0.0.1", port)] == []


def test_all_of_a_hundred_carry_traffic(service: Service, full: list[Key], byte_server: ByteServer) -> None:
    """Each of the hundred links carries bytes, half of them through each client."""
    links = [link_of(service, key) for key in full]
    for client_type, mine in ((XrayClient, links[::2]), (SingBoxClient, links[1::2])):
        with client_type.many(mine) as client:
            mute = [
                link.port for link, proxy in zip(mine, client.proxies, strict=True) if not carries(proxy, byte_server)
            ]
        assert mute == []


def test_one_more_is_refused(service: Service, full: list[Key]) -> None:
    """The 101st key is refused with 400 `ports_exhausted`, and nothing is changed by it."""
    assert refusal(service) == (httpx.codes.BAD_REQUEST, "ports_exhausted")
    assert [*map(lasting, list_keys(service))] == [*map(lasting, full)]
    assert agreement(service) == []


def test_a_freed_port_is_used_again(service: Service, full: list[Key]) -> None:
    """One deleted, one made: the new key has the free port, its own secrets, and all agree."""
    gone = full[COUNT // 2]
    delete_key(service, gone)
    made = make_key(service, "the next one")
    assert made["port"] == gone["port"]
    assert {made["uuid"], made["short_id"], made["id"]}.isdisjoint({gone["uuid"], gone["short_id"], gone["id"]})
    assert refusal(service) == (httpx.codes.BAD_REQUEST, "ports_exhausted")
    assert agreement(service) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", ""], ids=["own", "other", "v6", "any"])
def test_a_port_of_another_program_is_not_handed_out(service: Service, full: list[Key], host: str) -> None:
    """While another program listens on the only free port, on whatever address, there is none; then there is."""
    taken, free = full[3], full[60]
    delete_key(service, taken)
    delete_key(service, free)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, taken["port"]), family=family):
        made = make_key(service, "beside")
        refused = refusal(service)
    assert made["port"] == free["port"]
    assert refused == (httpx.codes.BAD_REQUEST, "ports_exhausted")
    assert make_key(service, "after")["port"] == taken["port"]
    assert agreement(service) == []
