"""Whatever is killed, whenever: every answer given stays true, and nothing else remains."""

from __future__ import annotations

import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Sequence

import pytest
from tests.support import procfs
from tests.support.agreement import agreement
from tests.support.clients import Client, SingBoxClient, XrayClient
from tests.support.keys import Key, carries, delete_key, lasting, link_of, list_keys, make_key
from tests.support.ports import is_free
from tests.support.process import wait_until
from tests.support.promises import Customers, Promises
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

ROUNDS = 8
"""Each number of answers that is waited for comes twice; --soak makes it twenty-five."""
ALL_EVERY = 4  # rounds
SAMPLE = 2
CUSTOMERS = 2
MOST_KEYS = 12
LONGEST_WORK_S = 0.2
MOST_ANSWERS_FIRST = 3
ANSWER_WITHIN_S = 60.0
DIES_WITHIN_S = 1.0
BACK_WITHIN_S = 2.0


@pytest.fixture
def service(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """A service of the test's own."""
    with Service(target, egress_allow=egress) as service:
        service.wait_ready()
        yield service


def kill(service: Service) -> list[str]:
    """`kill -9` the service; what its Xray, and whatever else it had started, did about it."""
    below = procfs.descendants(service.pid)
    service.kill()
    if wait_until(
        lambda: not any(map(procfs.is_alive, below)) and not service.leftover_pids(), DIES_WITHIN_S * slowness()
    ):
        return []
    return [f"alive after the service was killed: {[*filter(procfs.is_alive, below), *service.leftover_pids()]}"]


def mute(service: Service, keys: Sequence[Key], server: ByteServer, client_type: type[Client]) -> list[str]:
    """The keys that carry nothing."""
    if not keys:
        return []
    with client_type.many([link_of(service, key) for key in keys]) as client:
        return [
            f"no traffic through {key} with {client_type.__name__}"
            for key, proxy in zip(keys, client.proxies, strict=True)
            if not carries(proxy, server)
        ]


def strays(service: Service, keys: Sequence[Key]) -> list[str]:
    """Ports of the range on which it is not exactly the keys' Xray that listens."""
    xray, ports = [service.xray_pid()], {key["port"] for key in keys}
    silent = [f"Xray does not listen on {port}" for port in ports if not procfs.listens(xray, "127.0.0.1", port)]
    return silent + [f"{port} is not free" for port in service.ports if port not in ports and not is_free(port)]


def litter(service: Service) -> list[str]:
    """Files of earlier lives."""
    ours = {".lock", "api-key.json", "config.json", "reality.json", "reserve", "run", "stops", "tls", "vpnkeys.db"}
    ours |= {"vpnkeys.db-shm", "vpnkeys.db-wal", "backups"}
    found = [path.name for path in service.data_dir.iterdir() if path.name not in ours]
    return found + [path.name for path in (service.data_dir / "run").iterdir() if ".sock" not in path.name]


def test_killed_at_any_moment_it_keeps_its_word(service: Service, byte_server: ByteServer) -> None:
    """Killed again and again while keys are made and deleted; after each start all agree and all promises hold."""
    live_through_kills(service, byte_server, ROUNDS)


@pytest.mark.soak
def test_killed_at_any_of_many_moments_it_keeps_its_word(service: Service, byte_server: ByteServer) -> None:
    """As above, twenty-five times."""
    live_through_kills(service, byte_server, 25)


def live_through_kills(service: Service, byte_server: ByteServer, rounds: int) -> None:
    """Kill the service this often, and hold it to all that it has answered."""
    seed = int(os.environ.get("CRASH_SEED") or secrets.randbits(32))
    sys.stdout.write(f"repeat this run with CRASH_SEED={seed}\n")
    rng, promises = random.Random(seed), Promises()  # noqa: S311  (to be repeated, not to be secret)
    for number in range(1, rounds + 1):
        with Customers(service, promises, rng, count=CUSTOMERS, most_keys=MOST_KEYS):
            # On a slow machine nothing may be answered in that time: some rounds wait for answers first.
            wanted = promises.answered + number % (MOST_ANSWERS_FIRST + 1)
            wait_until(lambda: promises.answered >= wanted, ANSWER_WITHIN_S)  # noqa: B023 - called at once
            time.sleep(rng.uniform(0.0, LONGEST_WORK_S))
            faults = kill(service)
        service.start()
        service.wait_ready()
        keys = list_keys(service)
        faults += [*promises.broken_by(keys), *agreement(service), *strays(service, keys), *litter(service)]
        promises.settle(keys)
        if number % ALL_EVERY == 0:
            faults += mute(service, keys, byte_server, XrayClient) + mute(service, keys, byte_server, SingBoxClient)
        else:
            faults += mute(service, rng.sample(keys, min(SAMPLE, len(keys))), byte_server, XrayClient)
        assert faults == [], f"round {number} of CRASH_SEED={seed}"
    assert promises.answered > rounds, "too little happened for this to mean anything"


@pytest.mark.parametrize(
    "delays_s", [(0.0, 0.1, 0.3), pytest.param((0.0, 0.05, 0.1, 0.15, 0.2, 0.3), marks=pytest.mark.soak)]
)
def test_killed_while_it_starts(service: Service, byte_server: ByteServer, delays_s: tuple[float, ...]) -> None:
    """Killed soon after its starts, the service leaves nothing behind, and works after the next one."""
    key = make_key(service)
    for delay_s in delays_s:
        time.sleep(delay_s)
        assert kill(service) == []
        service.start()
    service.wait_ready()
    assert [*agreement(service), *litter(service), *strays(service, [key])] == []
    assert mute(service, [key], byte_server, XrayClient) == []


def test_a_killed_xray_is_back_at_once(service: Service, byte_server: ByteServer) -> None:
    """Two seconds after Xray was killed another one carries the old keys' traffic, and new keys are made."""
    keys = [make_key(service) for _ in range(3)]
    with XrayClient(link_of(service, keys[0])) as client:
        for _ in range(2):
            old = service.xray_pid()
            killed_at = time.monotonic()
            os.kill(old, signal.SIGKILL)
            assert wait_until(lambda: carries(client.socks, byte_server, timeout=0.4))
            assert time.monotonic() - killed_at < BACK_WITHIN_S * slowness()
            assert service.xray_pid() != old
            service.wait_ready()
            assert [*agreement(service), *strays(service, list_keys(service))] == []
    assert mute(service, keys, byte_server, XrayClient) == []
    assert mute(service, [make_key(service)], byte_server, SingBoxClient) == []


@pytest.mark.parametrize("times", [3, pytest.param(10, marks=pytest.mark.soak)])
def test_an_xray_killed_while_keys_are_made_leaves_no_half_key(
    service: Service, byte_server: ByteServer, times: int
) -> None:
    """Each creation around Xray's death is either a working key or a clear 503 and no key at all."""
    made: list[Key] = []
    for _ in range(times):
        os.kill(service.xray_pid(), signal.SIGKILL)
        for _ in range(3):
            answer = service.client.post("/api/keys", json={"name": "x"})
            assert answer.status_code in {200, 503}, answer.text
            if answer.status_code == 200:
                made.append(answer.json())
                made[-1].pop("ignored_fields")  # of the request, not of the key
            else:
                assert "Retry-After" in answer.headers
        service.wait_ready()
        assert [*agreement(service), *strays(service, made)] == []
        assert [*map(lasting, list_keys(service))] == [*map(lasting, made)]
        if made:
            assert mute(service, [made[-1]], byte_server, XrayClient) == []
            delete_key(service, made.pop())


def test_stopped_in_order_it_leaves_nothing(service: Service) -> None:
    """SIGTERM ends the service with status 0: no process, no socket, no listener, no temporary file remains."""
    make_key(service)
    below = procfs.descendants(service.pid)
    with service.new_client() as idle:
        idle.get("/health")
        assert service.stop() == 0
    assert [*filter(procfs.is_alive, below), *service.leftover_pids()] == []
    assert list((service.data_dir / "run").iterdir()) == []
    assert litter(service) == []
    assert [port for port in (*service.ports, service.address[1]) if not is_free(port)] == []


def test_stopped_while_it_starts(service: Service) -> None:
    """Also right after a start, with everything still under way, SIGTERM means status 0 and nothing left."""
    assert service.stop() == 0
    service.start()
    below = procfs.descendants(service.pid)
    assert service.stop() == 0
    assert [*filter(procfs.is_alive, below), *service.leftover_pids()] == []
    assert litter(service) == []
