"""PostgreSQL is killed, stopped, made read-only, cut off and failed over: answers stay bounded, and nothing is lost.

Customers notice nothing; keys that are stopped meanwhile stop at once in the running Xray; afterwards all is as before,
without anybody's help.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import httpx
import pytest
from tests.support.agreement import agreement
from tests.support.clients import SingBoxClient, XrayClient
from tests.support.counting import exact_total_bytes, settled_xray_bytes
from tests.support.keys import Key, carries, link_of, list_keys, make_key
from tests.support.pooler import Pooler, pgbouncer
from tests.support.postgres import Cluster, missing
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.streams import ByteServer, Echo, PingPong, transfer
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]

ANSWERS_WITHIN_S = 3.0
HEALTH_WITHIN_S = 1.0
UP, DOWN = 20_000, 70_000


@contextmanager
def killed(cluster: Cluster) -> Iterator[None]:
    """As by a crash; it is started again afterwards."""
    cluster.stop(signal.SIGKILL)
    yield
    cluster.run()


@contextmanager
def stopped(cluster: Cluster) -> Iterator[None]:
    """It takes connections, and says nothing."""
    cluster.send_signal(signal.SIGSTOP)
    yield
    cluster.send_signal(signal.SIGCONT)


@contextmanager
def read_only(cluster: Cluster) -> Iterator[None]:
    """As a standby is."""
    cluster.set("default_transaction_read_only", "on")
    yield
    cluster.set("default_transaction_read_only", "off")


@contextmanager
def without_socket(cluster: Cluster) -> Iterator[None]:
    """Nobody gets there any more, and those who are there are thrown out."""
    socket, away = cluster.directory / ".s.PGSQL.5432", cluster.directory / "away"
    socket.rename(away)
    cluster.end_connections()
    yield
    away.rename(socket)


FAULTS: dict[str, Callable[[Cluster], object]] = {
    "killed": killed,
    "stopped": stopped,
    "read-only": read_only,
    "without its socket": without_socket,
}


@dataclass
class Answers:
    """What was answered, how late, and which keys were acknowledged."""

    service: Service
    keys: list[Key] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    def ask(self, method: str, path: str, within_s: float = ANSWERS_WITHIN_S, **more: object) -> httpx.Response:
        """Send one request; note how long it took."""
        began = time.monotonic()
        answer = self.service.client.request(method, path, **more)  # type: ignore[arg-type] # httpx's own
        took = time.monotonic() - began
        if took > within_s * slowness():
            self.late.append(f"{method} {path}: {took:.1f} s")
        self.statuses.add(answer.status_code)
        return answer

    def make(self) -> int:
        """Ask for a key; the status."""
        answer = self.ask("POST", "/api/keys", json={"name": f"key {len(self.keys)}"})
        if answer.status_code == 200:
            self.keys.append(answer.json())
        return answer.status_code

    def problems(self) -> set[str]:
        """The codes of `/health`."""
        answer = self.ask("GET", "/health", HEALTH_WITHIN_S)
        return {problem["code"] for problem in answer.json()["problems"]}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server of the module's own."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def service(target: RealityTarget, egress: tuple[str, ...], cluster: Cluster) -> Iterator[Service]:
    """A service on it that samples five times a second."""
    settings = {"VPNKEYS_DATABASE_URL": cluster.empty_database(), "VPNKEYS_TRAFFIC_INTERVAL_S": "0.2"}
    with Service(target, egress_allow=egress, settings=settings) as service:
        service.wait_ready()
        yield service
        assert "Traceback" not in service.log()


@contextmanager
def customer(service: Service, echo: Echo) -> Iterator[tuple[Key, XrayClient, PingPong]]:
    """A key whose customer sends a message every 50 ms, none of which may be lost."""
    key = make_key(service, "customer")
    with ExitStack() as stack:
        client = stack.enter_context(XrayClient(link_of(service, key)))
        beat = stack.enter_context(PingPong(echo.open(client.socks)))
        yield key, client, beat
        assert beat.broken is None
        assert beat.stall_s < 1.0 * slowness()


def use(client: XrayClient, byte_server: ByteServer) -> None:
    """Send and receive a known number of bytes."""
    with byte_server.open(client.socks) as sock:
        transfer(sock, UP, DOWN, seed=1)


@pytest.mark.parametrize("fault", FAULTS)
def test_it_is_gone_for_a_while(
    service: Service, cluster: Cluster, byte_server: ByteServer, echo: Echo, fault: str
) -> None:
    """Bounded answers; stops strike at once; traffic goes on and is counted; all comes back by itself."""
    answers = Answers(service)
    with (
        customer(service, echo) as (key, client, _),
        SingBoxClient(link_of(service, other := make_key(service))) as gone,
    ):
        assert carries(gone.socks, byte_server)
        use(client, byte_server)
        with FAULTS[fault](cluster):  # type: ignore[attr-defined] # context managers all
            assert answers.make() == 503
            use(client, byte_server)
            deleted = answers.ask("DELETE", f"/api/keys/{other['id']}")
            assert (deleted.status_code, deleted.json()["code"]) == (503, "not_written"), deleted.text
            assert not carries(gone.socks, byte_server, timeout=5.0)
            assert wait_until(lambda: bool(answers.problems() & {"database_unreadable", "database_unwritable"}), 30)
            for path in ("/", "/api/keys", f"/api/keys/{key['id']}", "/api/traffic", "/metrics"):
                answers.ask("GET", path)
            assert answers.make() == 503
        service.wait_healthy()
        assert wait_until(lambda: answers.make() == 200, 30)
        use(client, byte_server)
        assert wait_until(lambda: service.client.get(f"/api/keys/{other['id']}").status_code == 404, 30)
    assert answers.late == []
    assert answers.statuses <= {200, 503}
    assert settled_xray_bytes(service, key) == exact_total_bytes(service, key) >= 3 * (UP + DOWN)
    assert {one["id"] for one in answers.keys} <= {one["id"] for one in list_keys(service)}
    assert agreement(service) == []


@pytest.mark.skipif(pgbouncer() is None, reason="PgBouncer is not installed (Debian's package is pgbouncer)")
def test_it_fails_over_to_a_standby_behind_a_pooler(
    target: RealityTarget, egress: tuple[str, ...], byte_server: ByteServer, echo: Echo
) -> None:
    """The primary is killed and its standby promoted: no acknowledged key is lost, and what was sent is counted."""
    with ExitStack() as stack:
        primary = stack.enter_context(Cluster())
        primary.execute("CREATE DATABASE vpnkeys")
        standby = primary.standby()
        stack.callback(standby.close)
        pooler = stack.enter_context(Pooler(primary))
        settings = {"VPNKEYS_DATABASE_URL": pooler.url("vpnkeys"), "VPNKEYS_TRAFFIC_INTERVAL_S": "0.2"}
        service = stack.enter_context(Service(target, egress_allow=egress, settings=settings))
        service.wait_ready()
        answers = Answers(service)
        with customer(service, echo) as (key, client, _):
            assert [answers.make() for _ in range(3)] == [200] * 3
            use(client, byte_server)
            primary.stop(signal.SIGKILL)
            assert answers.make() == 503
            use(client, byte_server)
            assert "database_unreadable" in answers.problems()
            pooler.lead_to(standby)
            assert wait_until(lambda: "database_unwritable" in answers.problems(), 30), answers.problems()
            assert answers.make() == 503
            standby.promote()
            assert wait_until(lambda: answers.make() == 200, 30)
            use(client, byte_server)
            service.wait_healthy()
        assert answers.late == []
        assert answers.statuses <= {200, 503}
        assert settled_xray_bytes(service, key) == exact_total_bytes(service, key) >= 3 * (UP + DOWN)
        assert {one["id"] for one in answers.keys} <= {one["id"] for one in list_keys(service)}
        assert agreement(service) == []
