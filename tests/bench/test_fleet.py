"""A thousand agents with a hundred keys each: what they cost their control plane, and what a request then takes.

Agents are simulated in a few processes, over real HTTPS (`tests/support/many_agents.py`). VPNKEYS_BENCH_AGENTS is
another number of them.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert
from tests.bench.book import Book, Figure, Spread
from tests.contract.test_store import key
from tests.support import procfs
from tests.support.certificates import Authority
from tests.support.empty_app import EmptyApp
from tests.support.lean import LeanClient
from tests.support.many_agents import Totals, Way, _context
from tests.support.planes import control_plane
from tests.support.postgres import Cluster
from tests.support.process import REPOSITORY
from tests.support.service import Service
from tests.support.target import RealityTarget

from vpnkeys.domain.limits import NO_LIMITS, Limits, Window
from vpnkeys.domain.nodes import NodeRecord, NodeRef, new_node_token
from vpnkeys.domain.portpool import PortRange
from vpnkeys.store.sql.opening import open_migrated
from vpnkeys.store.sql.rows import node_row, to_row
from vpnkeys.store.sql.tables import keys, nodes

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

AGENTS = int(os.environ.get("VPNKEYS_BENCH_AGENTS", "1000"))
KEYS_EACH = 100
PROCESSES = 2
FIRST_PORT = 20_001
MEASURED_S = float(os.environ.get("VPNKEYS_BENCH_SECONDS", "60"))
CREATE_EVERY_S = 0.5
LIMITS = Limits(expires_at=datetime(2100, 1, 1), traffic_bytes=10**15, traffic_window=Window.MONTH)  # noqa: DTZ001
"""Every other key has these, which are not reached."""
KEPT_FOR_S = 15.0
"""For how long an agent keeps a connection that it does not use."""


def seed(url: str) -> list[str]:
    """Nodes with their keys; the tokens of their agents."""
    engine, ports, tokens = open_migrated(url), PortRange(FIRST_PORT, FIRST_PORT + 999), []
    records, rows = [], []
    chance = Random(1)  # noqa: S311 - the same ones each time, in no order, as those of real keys are
    for number in range(AGENTS):
        ref = NodeRef(number + 2, f"node-{number}")
        digest, token = new_node_token(ref.id)
        tokens.append(token)
        record = NodeRecord(ref, "default", 1, None, address="198.51.100.1", ports=ports, public_key="K" * 43)
        records.append({"id": ref.id, **node_row(replace(record, token_digest=digest))})
        for port in range(KEYS_EACH):
            serial = number * KEYS_EACH + port
            limits = LIMITS if serial % 2 else NO_LIMITS
            uuid = {name: str(UUID(int=chance.getrandbits(128))) for name in ("uuid", "id")}
            rows.append(
                to_row(key(serial, **uuid, limits=limits, node=ref, port=FIRST_PORT + port, short_id=f"{serial:016x}"))
                | {"number": serial + 1}
            )
    with engine.connect().execution_options(writes=True, durable=False) as connection, connection.begin():
        connection.execute(insert(nodes), records)
        connection.execute(insert(keys), rows)
    engine.dispose()
    return tokens


@dataclass
class Fleet:
    """One control plane or two, and the processes of their agents."""

    kind: str
    services: list[Service]
    ca_file: Path
    empty: EmptyApp
    files: list[Path]

    @property
    def name(self) -> str:
        """What its figures are called by."""
        return f"{AGENTS} agents on {self.kind}"

    def client(self, address: tuple[str, int]) -> LeanClient:
        """A client of what answers there with the certificate of all."""
        context = ssl.create_default_context(cafile=self.ca_file)
        connection = http.client.HTTPSConnection(*address, timeout=60, context=context)
        return LeanClient(connection, self.services[0].api_key)

    def cpu_s(self) -> float:
        """The processor time of all control planes so far."""
        return sum(procfs.cpu_s(service.pid) for service in self.services)

    def said(self) -> list[dict[str, Any]]:
        """What the processes have come to."""
        return [json.loads(file.with_suffix(".out").read_text(encoding="utf-8")) for file in self.files]

    def total(self, name: str) -> int:
        """A number over all processes."""
        return sum(one[name] for one in self.said())

    def wait_all(self, since: float, most_s: float) -> float:
        """Wait until each agent was acknowledged after `since`; how long that took."""
        while time.monotonic() - since < most_s:
            if min(one["oldest"] for one in self.said()) > since:
                break
            time.sleep(0.2)
        return time.monotonic() - since


@contextmanager
def one_on_sqlite(target: RealityTarget, certificate: tuple[Path, Path]) -> Iterator[tuple[list[Service], str]]:
    """A control plane on a file; and the URL of that."""
    cert, key = map(str, certificate)
    service = Service(target, timeout=180, settings={"VPNKEYS_TLS_CERT": cert, "VPNKEYS_TLS_KEY": key})
    url = f"sqlite:///{service.data_dir / 'vpnkeys.db'}"
    yield [service], url


@contextmanager
def two_on_postgresql(target: RealityTarget, certificate: tuple[Path, Path]) -> Iterator[tuple[list[Service], str]]:
    """Two control planes on a database; and the URL of that, whose commits wait for the disk."""
    with Cluster() as cluster:
        cluster.set("fsync", "on")
        url = cluster.empty_database()
        yield [control_plane(target, url, certificate, timeout=180) for _ in range(2)], url


_KINDS = {"SQLite": one_on_sqlite, "PostgreSQL with two control planes": two_on_postgresql}


@pytest.fixture(scope="module", params=list(_KINDS))
def fleet(
    request: pytest.FixtureRequest, bench_target: RealityTarget, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """All agents are up; they are shared out among the control planes."""
    directory = tmp_path_factory.mktemp("fleet")
    authority = Authority(directory)
    certificate = authority.issue(["127.0.0.1"])
    with ExitStack() as stack:
        services, url = stack.enter_context(_KINDS[request.param](bench_target, certificate))
        tokens = seed(url)
        for service in services:
            stack.enter_context(service)
        empty = stack.enter_context(EmptyApp(*map(str, certificate)))
        began = time.monotonic()
        files = [directory / f"agents-{number}.json" for number in range(PROCESSES)]
        for number, file in enumerate(files):
            told = {
                "port": services[number % len(services)].address[1],
                "tokens": tokens[number::PROCESSES],
                "first": number * 1000,
                "keeps_s": KEPT_FOR_S,
                "start_within_s": 10,
            }
            file.write_text(json.dumps(told), encoding="utf-8")
            child = subprocess.Popen(
                [sys.executable, "-m", "tests.support.many_agents", str(file)], stdin=subprocess.PIPE, cwd=REPOSITORY
            )
            stack.callback(child.wait, 20)
            assert child.stdin is not None
            stack.callback(child.stdin.close)
        for file in files:
            while not file.with_suffix(".out").exists():
                time.sleep(0.2)
        found = Fleet(request.param, services, authority.ca_file, empty, files)
        found.wait_all(began, 300)
        yield found


def timed(act: Callable[[], object]) -> float:
    """How long it takes, in milliseconds."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1e3


def p99(values: list[float]) -> float:
    """All but one in a hundred are at most so."""
    return statistics.quantiles(values, n=100, method="inclusive")[98]


def test_fleet_at_work(book: Book, fleet: Fleet) -> None:
    """The processor time of the server for a hundred reports a second, its memory, and requests meanwhile."""
    creates, pages, bare, failed = list[float](), list[float](), list[float](), list[str]()
    with (
        fleet.client(fleet.services[0].address) as client,
        fleet.client((fleet.empty.host, fleet.empty.port)) as nothing,
    ):
        page = "/api/keys?limit=100"
        busy, reports, handshakes, began = (
            fleet.cpu_s(),
            fleet.total("reports"),
            fleet.total("handshakes"),
            time.monotonic(),
        )
        number = 0
        while time.monotonic() - began < MEASURED_S:
            number += 1
            made_at = time.perf_counter()
            try:
                make_key(client, number)
            except (RuntimeError, OSError, http.client.HTTPException) as error:
                failed.append(str(error)[:200])
            creates.append((time.perf_counter() - made_at) * 1e3)
            pages.append(timed(lambda: client.ask("GET", page)))
            bare.append(timed(lambda: nothing.ask("GET", "/")))
            time.sleep(CREATE_EVERY_S)
        took = time.monotonic() - began
        rate = (fleet.total("reports") - reports) / took
        cores = (fleet.cpu_s() - busy) / took
        new_connections = (fleet.total("handshakes") - handshakes) / took
    floor = Spread.of(bare)
    alone = asyncio.run(_cost_of_posts(fleet.empty, 2000))
    failures = [one["failures"] for one in fleet.said()]
    sys.stdout.write(f"\n{rate:.0f} reports/s, {new_connections:.0f} handshakes/s, failures {failures}\n")
    names = fleet.name
    book.add(Figure(f"{names}: creations that failed, of {len(creates)}", len(failed), "", "lower", 0))
    book.add(
        Figure(
            f"{names}: cores for 100 reports a second",
            cores * 100 / rate,
            "cores",
            "lower",
            1,
            alone * 100,
            "empty server",
        )
    )
    memory_mb = max(procfs.resident_mb(service.pid) for service in fleet.services)
    empty_mb = procfs.resident_mb(fleet.empty.child.pid)
    book.add(Figure(f"{names}: memory", memory_mb, "MB", "lower", 300, empty_mb, "empty server"))
    for what, values, goals in (
        ("create to acknowledged", creates, (100, 1000)),
        ("page of 100 keys", pages, (20, None)),
    ):
        for label, value, bound, least in (
            ("p50", statistics.median(values), goals[0], floor.p50),
            ("p99", p99(values), goals[1], p99(bare)),
        ):
            book.add(
                Figure(f"{names}: {what}, {label}", value, "ms", "lower", bound, least, "empty server", floor.noise)
            )
    assert not failed, failed[:3]


def make_key(client: LeanClient, number: int) -> None:
    """Make a key on a node, another one each time."""
    body = json.dumps({"name": f"new {number}", "node": f"node-{number * 37 % AGENTS}"}).encode()
    client.ask("POST", "/api/keys", body)


def test_fleet_comes_back(book: Book, fleet: Fleet) -> None:
    """The control planes are restarted, one after the other; until each agent was acknowledged by the new ones."""
    began = time.monotonic()
    for service in fleet.services:
        service.stop()
        service.start()
    listening = time.monotonic() - began
    took = fleet.wait_all(began, 300)
    alone = asyncio.run(_handshakes(fleet.empty, AGENTS))
    sys.stdout.write(
        f"\nlistening after {listening:.1f} s; {fleet.cpu_s():.1f} s of processor time until all are back\n"
    )
    book.add(Figure(f"{fleet.name}: all back after a restart", took, "s", "lower", 60, alone, "empty server"))


async def _cost_of_posts(empty: EmptyApp, count: int) -> float:
    """Processor seconds of the empty server for one request of a report's size, on a kept connection."""
    way = Way(empty.port, "127.0.0.1", _context(), Totals(), 60)
    body = b"x" * 6000
    request = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    await way.ask(request)
    before = procfs.cpu_s(empty.child.pid)
    for _ in range(count):
        await way.ask(request)
    await way.end()
    return (procfs.cpu_s(empty.child.pid) - before) / count


async def _handshakes(empty: EmptyApp, count: int) -> float:
    """Seconds for so many connections with one request each, some at once."""
    context, turns = _context(), asyncio.Semaphore(20)

    async def one() -> None:
        async with turns:
            way = Way(empty.port, "127.0.0.1", context, Totals(), 60)
            await way.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await way.end()

    began = time.monotonic()
    await asyncio.gather(*(one() for _ in range(count)))
    return time.monotonic() - began
