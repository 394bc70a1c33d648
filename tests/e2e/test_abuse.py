"""Whatever is done to the API from outside, its operator gets answers and customers do not notice."""

from __future__ import annotations

import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from tests.support.abuse import Abuse
from tests.support.agreement import agreement
from tests.support.customers import undisturbed
from tests.support.keys import make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer, Echo
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

# Where thousands connect at once a first packet may be lost, and be sent again after 1, 3 and 7 s.
PATIENCE_S = 20.0
LONGEST_STALL_S = 2.0
MORE_LOG_BYTES = 200_000
MORE_MEMORY_BYTES = 250_000_000
ROUNDS = 4

# Only guessing is limited: how the operator fares is what these tests ask about.
LIMITS = "create=0,list=0,get=0,delete=0,sync=0"


@pytest.fixture(scope="module")
def service(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """A service that throttles nobody but guessers."""
    with Service(target, egress_allow=egress, settings={"VPNKEYS_RATE_LIMITS": LIMITS}) as service:
        service.wait_ready()
        yield service


@pytest.fixture(autouse=True)
def _customers(service: Service, echo: Echo, byte_server: ByteServer) -> Iterator[None]:
    """Customers before, during and after each attack; everything agrees when it is over."""
    key = make_key(service, "customer")
    with undisturbed(service, key, echo, byte_server, LONGEST_STALL_S):
        yield
    service.client.delete(f"/api/keys/{key['id']}").raise_for_status()
    assert agreement(service) == []
    log = service.log()
    if "Traceback" in log:
        pytest.fail(log[log.index("Traceback") :][:5000])


def operator(service: Service, source: str = "127.0.0.1") -> httpx.Client:
    """Somebody with the API key, on a connection of his own, who waits a while for everything."""
    context = ssl.create_default_context(cafile=str(service.data_dir / "tls" / "cert.pem"))
    return httpx.Client(
        base_url=service.base_url,
        headers={"X-API-Key": service.api_key},
        transport=httpx.HTTPTransport(verify=context, local_address=source),
        timeout=PATIENCE_S,
    )


def assert_answers(service: Service, source: str = "127.0.0.1") -> None:
    """Listing, making and deleting keys works, and the service is well; each on a new connection."""

    def ask(method: str, path: str, **more: object) -> httpx.Response:
        with operator(service, source) as client:
            began = time.monotonic()
            answer = client.request(method, path, **more)  # type: ignore[arg-type]
            assert answer.status_code == httpx.codes.OK, answer.text
            assert time.monotonic() - began < PATIENCE_S
            return answer

    assert ask("GET", "/api/keys").json()
    made = ask("POST", "/api/keys", json={"name": "in the middle of it"}).json()
    ask("DELETE", f"/api/keys/{made['id']}")
    assert ask("GET", "/health").json()["status"] == "healthy"


def memory_bytes(service: Service) -> int:
    """What the service has in memory now."""
    return int(Path(f"/proc/{service.pid}/statm").read_text().split()[1]) * 4096


class Blow(NamedTuple):
    """An attack: connections at a time, addresses they come from, and how one sees that it is in force."""

    kind: str
    connections: int
    sources: int
    landed: Callable[[Counter[str]], bool]
    by_nobody: bool = False


BLOWS: list[object] = [
    Blow("brute force", 50, 5, lambda got: got["429"] >= 1000 and got["401"] >= 50),
    Blow("slow head", 500, 25, lambda got: got["opened"] >= 500),
    Blow("slow body", 500, 25, lambda got: got["opened"] >= 500),
    Blow("idle", 1500, 25, lambda got: got["opened"] >= 1500),
    Blow("handshakes", 30, 5, lambda got: got["opened"] >= 500),
    Blow("silent", 3000, 50, lambda got: got["opened"] >= 3000),
    Blow("announced gigabyte", 8, 4, lambda got: got["400"] >= 8),
    Blow("chunked gigabyte", 8, 4, lambda got: got["400"] >= 8),
    Blow("chunked gigabyte", 9, 4, lambda got: got["opened"] >= 8, by_nobody=True),
    Blow("endless chunk extension", 8, 4, lambda got: got["none"] >= 8),
    Blow("many headers", 8, 4, lambda got: got["400"] >= 8),
    Blow("large header", 20, 4, lambda got: got["400"] >= 20),
    Blow("endless header", 8, 4, lambda got: got["400"] >= 8),
    Blow("requests ahead", 8, 4, lambda got: got["none"] >= 8),
    Blow("garbage", 20, 4, lambda got: got["400"] >= 100),
    Blow("garbage for TLS", 20, 4, lambda got: min(got["none"], got["308"]) >= 500),
    pytest.param(Blow("idle", 10_000, 100, lambda got: got["opened"] >= 10_000), marks=pytest.mark.soak),
]


def _name(blow: object) -> str:
    return f"{blow.connections} {blow.kind}" if isinstance(blow, Blow) else str(blow)


@pytest.mark.parametrize("blow", BLOWS, ids=_name)
def test_the_api_answers_under_abuse(service: Service, blow: Blow) -> None:
    """During and after an attack the operator lists, makes and deletes keys; memory and log stay small."""
    log_bytes, memory = len(service.log()), memory_bytes(service)
    peak = 0
    credential = "" if blow.by_nobody else service.api_key
    with Abuse(blow.kind, service.address, blow.connections, sources=blow.sources, credential=credential) as abuse:
        rounds = 0
        while rounds < ROUNDS or not blow.landed(abuse.tally()):
            assert abuse.child.running, abuse.child.log()
            assert_answers(service)
            peak = max(peak, memory_bytes(service))
            rounds += 1
    assert_answers(service)
    assert peak - memory < MORE_MEMORY_BYTES
    assert len(service.log()) - log_bytes < MORE_LOG_BYTES


def test_whoever_shares_the_attackers_address_gets_in(service: Service) -> None:
    """With more guessers on one address than it has places, the right API key opens from this very address."""
    with Abuse("brute force", service.address, 300) as abuse:
        abuse.child.wait_for(lambda: abuse.tally()["429"] >= 1000, "guessing at full speed", timeout=60.0)
        assert_answers(service, source="127.0.1.1")


def test_slow_requests_and_silent_connections_are_ended(service: Service) -> None:
    """A head gets ten seconds, an idle connection too, TLS too; nobody's places are taken for longer."""
    with Abuse("slow head", service.address, 20) as slow, Abuse("silent", service.address, 20) as silent:
        # Each comes back when it is hung up on: twice as many were open in all.
        assert wait_until(lambda: slow.tally()["opened"] >= 40)
        assert wait_until(lambda: silent.tally()["opened"] >= 40)
