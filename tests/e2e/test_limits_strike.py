"""Each limit strikes a customer who is in: they are out in seconds, nobody else notices; lifted, it is as before."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import httpx
import pytest
from tests.support.agreement import agreement, read_config
from tests.support.clients import Client, SingBoxClient, XrayClient
from tests.support.counting import total_bytes, xray_bytes
from tests.support.keys import Key, carries, delete_key, link_of, list_keys, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.streams import ByteServer, Echo, PingPong, TransferError, transfer
from tests.support.target import RealityTarget

from vpnkeys.xray.host.sockets import can_cut

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not can_cut(), reason="cutting needs CAP_NET_ADMIN")]

STRIKES_WITHIN_S = 10.0
LIFTS_WITHIN_S = 10.0
LONGEST_STALL_S = 0.2
STAYS_FOR_S = 3.0
QUOTA_BYTES = 2_000_000
RATE = 1_000_000  # bytes a second


@pytest.fixture(scope="module")
def service(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """A service of this module's own."""
    with Service(target, egress_allow=egress) as service:
        service.wait_ready()
        yield service


def change(service: Service, key: Key, **fields: Any) -> Key:  # noqa: ANN401 - JSON
    """PATCH."""
    answer = service.client.patch(f"/api/keys/{key['id']}", json=fields)
    assert answer.status_code == httpx.codes.OK, answer.text
    changed: Key = answer.json()
    return changed


def status(service: Service, key: Key) -> str:
    """What is told of a key."""
    found: str = service.client.get(f"/api/keys/{key['id']}").raise_for_status().json()["status"]
    return found


@contextmanager
def neighbour(service: Service, echo: Echo) -> Iterator[None]:
    """Somebody else, who must notice nothing: no break, and no stall of 200 ms."""
    key = make_key(service, "neighbour")
    with XrayClient(link_of(service, key), source="127.0.0.4") as client:
        with PingPong(echo.open(client.socks)) as stream:
            assert wait_until(lambda: len(stream.round_trips_s) > 3)
            yield
            seen = len(stream.round_trips_s)
            assert wait_until(lambda: len(stream.round_trips_s) > seen + 3)
        assert stream.broken is None
        assert stream.stall_s < LONGEST_STALL_S
    delete_key(service, key)


@dataclass
class Struck:
    """A key, its customer's one client, and what runs through it when the limit strikes."""

    service: Service
    byte_server: ByteServer
    echo: Echo
    key: Key = field(init=False)
    client: Client = field(init=False)
    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        """A key, and a client that is in."""
        self.key = make_key(self.service, "struck")
        self.link = link_of(self.service, self.key)
        # Xray would try for two seconds where a port is closed.
        self.client = self.stack.enter_context(SingBoxClient(self.link, source="127.0.0.2"))
        self.stream = self.stack.enter_context(PingPong(self.echo.open(self.client.socks)))
        assert wait_until(lambda: len(self.stream.round_trips_s) > 3)
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the key."""
        self.stack.close()
        delete_key(self.service, self.key)
        assert agreement(self.service) == []

    def is_out(self, since: float, why: str) -> float:
        """The stream ends in time, `status` says why, nobody gets in; the seconds that it took."""
        assert self.stream.wait_broken(max(0.1, since + STRIKES_WITHIN_S - time.monotonic()))
        assert self.stream.broken_at is not None
        assert wait_until(lambda: status(self.service, self.key) == why)
        assert not carries(self.client.socks, self.byte_server, timeout=3.0)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.key["port"]), 1.0).close()
        self.keeps_its_port()
        return self.stream.broken_at - since

    def keeps_its_port(self) -> None:
        """Nobody else gets it."""
        others = [make_key(self.service, "another") for _ in range(2)]
        assert self.key["port"] not in {other["port"] for other in others}
        for other in others:
            delete_key(self.service, other)
        [here] = [key for key in list_keys(self.service) if key["id"] == self.key["id"]]
        assert here["port"] == self.key["port"]

    def is_back(self) -> None:
        """The same client process, which knows the old link alone, gets in again."""
        assert link_of(self.service, self.key) == self.link
        assert status(self.service, self.key) == "active"
        assert wait_until(lambda: carries(self.client.socks, self.byte_server, timeout=3.0))


@pytest.fixture
def struck(service: Service, byte_server: ByteServer, echo: Echo) -> Iterator[Struck]:
    """A customer who is in, beside one who must notice nothing."""
    with neighbour(service, echo), Struck(service, byte_server, echo) as struck:
        yield struck


def download_until_it_ends(struck: Struck, server: ByteServer) -> float:
    """More than the quota allows, at an even pace; when the byte that broke it had come (by the pace)."""
    began = time.monotonic()
    with suppress(OSError, TransferError), server.open(struck.client.socks) as sock:
        transfer(sock, 0, 20 * RATE, rate=RATE)
        pytest.fail("all of it came")
    return began + QUOTA_BYTES / RATE


def say(what: str, seconds: float) -> None:
    """A measurement, for `pytest -rP`."""
    sys.stdout.write(f"{what}: the stream ended {seconds:.2f} s after the limit was reached\n")


@pytest.mark.parametrize("server", ["byte_server", "tls_byte_server"])
def test_a_quota(struck: Struck, server: str, request: pytest.FixtureRequest) -> None:
    """Used up during a download, in the clear or inside TLS 1.3, it ends that download; a reset lifts it."""
    service, key = struck.service, struck.key
    change(service, key, traffic_limit_bytes=QUOTA_BYTES)
    broken_since = download_until_it_ends(struck, request.getfixturevalue(server))
    say("quota", struck.is_out(broken_since, "limited"))
    used = service.client.get(f"/api/keys/{key['id']}/traffic").json()["total_bytes"]
    assert QUOTA_BYTES <= used < QUOTA_BYTES + STRIKES_WITHIN_S * RATE
    service.client.post(f"/api/keys/{key['id']}/traffic/reset").raise_for_status()
    assert wait_until(lambda: status(service, key) == "active", LIFTS_WITHIN_S)
    struck.is_back()


@dataclass(frozen=True)
class Downloaded:
    """What a customer got: bytes a second."""

    rate: float

    @classmethod
    def until_cut(cls, struck: Struck, server: ByteServer, size: int) -> Downloaded:
        """Download as fast as it goes, without looking at the bytes; the rate is that of the fastest second."""
        came: list[tuple[float, int]] = []
        with suppress(OSError), server.open(struck.client.socks) as sock:
            sock.sendall(json.dumps({"up": 0, "down": size, "seed": 1, "rate": None}).encode() + b"\n")
            while chunk := sock.recv(1 << 20):
                came.append((time.monotonic(), len(chunk)))
        total, begin = sum(count for _, count in came), came[0][0]
        seconds = Counter[int]()
        for at, count in came:
            seconds[int(at - begin)] += count
        return cls(max(*seconds.values(), total / (came[-1][0] - begin)))


@pytest.mark.parametrize("downloads", [3, pytest.param(12, marks=pytest.mark.soak)])
def test_quotas_at_full_speed(struck: Struck, byte_server: ByteServer, downloads: int) -> None:
    """At whatever speed there is, a second of it passes beyond the quota at most, whenever the download begins."""
    service, key = struck.service, struck.key
    for quota in (120_000_000, *[10_000_000] * downloads):
        used = service.client.get(f"/api/keys/{key['id']}/traffic").json()["total_bytes"]
        change(service, key, traffic_limit_bytes=used + quota)
        slow = slowness()
        got = Downloaded.until_cut(struck, byte_server, 4_000_000_000)
        assert wait_until(lambda: status(service, key) == "limited")
        beyond = service.client.get(f"/api/keys/{key['id']}/traffic").json()["total_bytes"] - used - quota
        sys.stdout.write(f"{got.rate / 1e6:.0f} MB/s: {beyond / 1e6:.1f} MB beyond {quota / 1e6:.0f} MB\n")
        assert 0 <= beyond <= got.rate * max(slow, slowness())


def test_lifting_a_quota(struck: Struck) -> None:
    """At once, with the change itself: by a higher one, or by none."""
    key = change(struck.service, struck.key, traffic_limit_bytes=1)
    struck.is_out(time.monotonic(), "limited")
    assert change(struck.service, key, traffic_limit_bytes=10**12)["status"] == "active"
    struck.is_back()
    change(struck.service, key, traffic_limit_bytes=None)
    struck.is_back()


def test_a_reset_lifts_a_quota_with_its_answer(struck: Struck) -> None:
    """Whoever resets a used-up key need not wait for the next look at limits."""
    key = change(struck.service, struck.key, traffic_limit_bytes=1_000)
    struck.is_out(time.monotonic(), "limited")
    struck.service.client.post(f"/api/keys/{key['id']}/traffic/reset").raise_for_status()
    assert status(struck.service, key) == "active"


def test_an_expiry(struck: Struck) -> None:
    """At its second; extended it works again."""
    at, since = datetime.now(UTC) + timedelta(seconds=3), time.monotonic() + 3
    change(struck.service, struck.key, expires_at=at.isoformat())
    say("expiry", took := struck.is_out(since, "expired"))
    assert took > 0, "not before its time"
    body = {"ids": [struck.key["id"]], "days": 1}
    struck.service.client.post("/api/keys/bulk/extend", json=body).raise_for_status()
    struck.is_back()


def test_switching_off(struck: Struck) -> None:
    """By the time it is answered; switched on again it works when that is answered."""
    since = time.monotonic()
    assert change(struck.service, struck.key, is_active=False)["status"] == "disabled"
    answered = time.monotonic()
    say("switching off", struck.is_out(since, "disabled"))
    assert struck.stream.broken_at is not None
    assert struck.stream.broken_at < answered + 1.0
    assert total_bytes(struck.service, struck.key) == xray_bytes(struck.service, struck.key), (
        "to the last byte before the cut"
    )
    change(struck.service, struck.key, is_active=True)
    struck.is_back()


def test_the_newest_device_stays(struck: Struck) -> None:
    """The older one is cut off, again and again when it comes back; lifted, both are in."""
    service, key = struck.service, struck.key
    change(service, key, max_devices=1)
    with XrayClient(struck.link, source="127.0.0.3") as other, PingPong(struck.echo.open(other.socks)) as newest:
        since = time.monotonic()
        assert struck.stream.wait_broken(STRIKES_WITHIN_S)
        for attempt in range(3):
            with suppress(OSError), PingPong(struck.echo.open(struck.client.socks)) as older:
                since = time.monotonic()
                assert older.wait_broken(STRIKES_WITHIN_S)
                say(f"device, attempt {attempt + 1}", time.monotonic() - since)
        assert newest.broken is None
        assert newest.stall_s < LONGEST_STALL_S
        assert status(service, key) == "active"
        change(service, key, max_devices=None)
        with PingPong(struck.echo.open(struck.client.socks)) as older:
            assert not older.wait_broken(3.0)
            assert service.client.get(f"/api/keys/{key['id']}/online").json()["devices"] == 2
        assert newest.broken is None
    struck.keeps_its_port()


@contextmanager
def lost(client: Client) -> Iterator[None]:
    """A network that is gone: no connection is closed, and nothing comes from there any more."""
    os.kill(client.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(client.pid, signal.SIGCONT)


def stays(client: Client, echo: Echo) -> bool:
    """Whether a new connection is left alone for several looks."""
    with suppress(OSError), PingPong(echo.open(client.socks)) as stream:
        return not stream.wait_broken(STAYS_FOR_S)
    return False


def test_a_phone_that_changes_its_network_gets_in_at_once(struck: Struck) -> None:
    """Though its old connections are open; and when it goes back, in some seconds."""
    service, key = struck.service, struck.key
    change(service, key, max_devices=1)
    with XrayClient(struck.link, source="127.0.0.3") as elsewhere:
        with lost(struck.client):
            assert stays(elsewhere, struck.echo)
            assert service.client.get(f"/api/keys/{key['id']}/online").json()["devices"] == 1
        stream = PingPong(struck.echo.open(elsewhere.socks))
        with stream, lost(elsewhere):
            since = time.monotonic()
            assert wait_until(lambda: stays(struck.client, struck.echo), LIFTS_WITHIN_S * slowness())
            say("back in the first network", time.monotonic() - since - STAYS_FOR_S)


def test_a_used_up_quota_survives_a_restart(service: Service, byte_server: ByteServer, echo: Echo) -> None:
    """The service ends in order, and as by `kill -9`: the key stays limited from the first moment on, others work."""
    free = make_key(service, "free")
    with Struck(service, byte_server, echo) as struck:
        change(service, struck.key, traffic_limit_bytes=1)
        struck.is_out(time.monotonic(), "limited")
        for end in (service.stop, service.kill):
            end()
            service.start()
            assert status(service, struck.key) == "limited"
            service.wait_ready()
            with SingBoxClient.many([link_of(service, free), struck.link]) as client:
                assert carries(client.proxies[0], byte_server)
                assert not carries(client.proxies[1], byte_server, timeout=3.0)
            assert status(service, struck.key) == "limited"
        change(service, struck.key, traffic_limit_bytes=None)
        struck.is_back()
    delete_key(service, free)


def test_a_key_that_expires_while_nobody_serves_does_not_come_back(service: Service) -> None:
    """It is expired, and without an inbound, from the very start on: not a second later."""
    expires_at = datetime.now(UTC) + timedelta(seconds=3)
    key = change(service, make_key(service), expires_at=expires_at.isoformat())
    service.stop()
    time.sleep(max(0.0, (expires_at - datetime.now(UTC)).total_seconds()))
    service.start()
    assert status(service, key) == "expired"
    assert f"key-{key['id']}" not in [inbound["tag"] for inbound in read_config(service)["inbounds"]]
    service.wait_ready()
    assert agreement(service) == []
    delete_key(service, key)
