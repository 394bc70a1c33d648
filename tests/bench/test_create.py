"""How long a key takes: the whole request, its parts, and the time until its link carries the first byte."""

from __future__ import annotations

import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.agreement import read_config
from tests.support.clients import XrayClient
from tests.support.keys import Key, link_of, make_key
from tests.support.lean import LeanClient
from tests.support.service import Service
from tests.support.streams import Echo
from tests.support.target import RealityTarget

from vpnkeys.domain.inbound import Inbound
from vpnkeys.files import write_atomically
from vpnkeys.xray.config import parse_inbound
from vpnkeys.xray.control import XrayControl

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

KEYS_PRESENT = 50
SAMPLES = 200
WARM_UP = 10
BODY = b'{"name": "bench"}'
NAMES = ("one.example.com", "two.example.com", "three.example.com")


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    """The far end that gives the first byte."""
    with Echo() as server:
        yield server


@pytest.fixture(scope="module")
def service(echo: Echo) -> Iterator[Service]:
    """A service on a target that keeps its connections open, as real ones do; empty."""
    with (
        RealityTarget(NAMES) as target,
        Service(target, egress_allow=[echo.egress_rule], port_count=KEYS_PRESENT + 20) as service,
    ):
        service.wait_ready()
        yield service


@pytest.fixture(scope="module")
def filled(service: Service) -> list[Key]:
    """Fifty keys."""
    return [make_key(service, f"present {number}") for number in range(KEYS_PRESENT)]


def say(line: str) -> None:
    """A line of the report."""
    sys.stdout.write(f"{line}\n")


def row(what: str, seconds: list[float]) -> None:
    """One row of the table: median, 95th percentile, worst, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=20)
    say(f"{what:<48} {cuts[9] * 1e3:8.2f} {cuts[18] * 1e3:8.2f} {max(seconds) * 1e3:8.2f}")


def head(title: str) -> None:
    """The head of a table."""
    say(f"\n{title:<48} {'p50 ms':>8} {'p95 ms':>8} {'max ms':>8}")


def samples(act: Callable[[], object], undo: Callable[[], object] = lambda: None) -> list[float]:
    """How long something takes, again and again, each time undone in between."""
    taken: list[float] = []
    for _ in range(WARM_UP + SAMPLES):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
        undo()
    return taken[WARM_UP:]


def test_whole_requests(service: Service, filled: list[Key]) -> None:
    """Creating and deleting over one kept TLS connection, with fifty keys present; and a request that does nothing."""
    creates: list[float] = []
    deletes: list[float] = []
    with LeanClient(service) as client:
        for _ in range(WARM_UP + SAMPLES):
            began = time.perf_counter()
            key = client.ask("POST", "/api/keys", BODY)
            made = time.perf_counter()
            client.ask("DELETE", f"/api/keys/{key['id']}")
            creates.append(made - began)
            deletes.append(time.perf_counter() - made)
        nothing = samples(lambda: client.ask("GET", "/"))
        one = samples(lambda: client.ask("GET", f"/api/keys/{filled[0]['id']}"))
    head(f"whole requests, {KEYS_PRESENT} keys present, {SAMPLES} samples")
    row("POST /api/keys", creates[WARM_UP:])
    row("DELETE /api/keys/{id}", deletes[WARM_UP:])
    row("GET /api/keys/{id}", one)
    row("GET /", nothing)


def test_the_parts_alone(service: Service, filled: list[Key], tmp_path: Path) -> None:
    """What a creation cannot do without: Xray's AddInbound, a durable commit, and a durable config.json."""
    content = (service.data_dir / "config.json").read_bytes()
    head(f"the parts alone, {SAMPLES} samples")
    control = XrayControl(service.data_dir / "run" / "api.sock")
    inbound = spare_inbound(service, filled)
    row("gRPC AddInbound", samples(lambda: control.add(inbound), lambda: control.remove(inbound.tag)))
    row("gRPC RemoveInbound", samples(lambda: control.remove(inbound.tag), lambda: control.add(inbound))[1:])
    control.remove(inbound.tag)
    control.close()
    with closing(sqlite3.connect(tmp_path / "bench.db", isolation_level=None)) as database:
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            database.execute(f"PRAGMA {pragma}")
        database.execute("CREATE TABLE keys (id TEXT PRIMARY KEY, name TEXT, port INTEGER)")
        row("SQLite commit (WAL, synchronous=FULL)", samples(lambda: commit(database)))
    row(
        f"atomic write of config.json ({len(content)} bytes)",
        samples(lambda: write_atomically(tmp_path / "c", content)),
    )


def spare_inbound(service: Service, filled: list[Key]) -> Inbound:
    """An inbound like a key's, on a port that no key has."""
    tag = f"key-{filled[0]['id']}"
    (raw,) = [raw for raw in read_config(service)["inbounds"] if raw["tag"] == tag]
    inbound = parse_inbound(raw)
    assert isinstance(inbound, Inbound)
    return replace(inbound, tag="key-bench", port=service.ports[-1])


def commit(database: sqlite3.Connection) -> None:
    """One row, durable."""
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO keys (name, port) VALUES ('bench', 1)")
    database.execute("COMMIT")


def first_byte(service: Service, echo: Echo, client: LeanClient) -> tuple[str, float, float]:
    """(server name, seconds from the answer to the first byte, of these without the client's start), one attempt."""
    key = client.ask("POST", "/api/keys", BODY)
    answered = time.perf_counter()
    with XrayClient(link_of(service, key)) as vpn:
        up = time.perf_counter()
        with echo.open(vpn.socks) as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
        done = time.perf_counter()
    return key["sni"], done - answered, done - up


def test_the_first_byte(echo: Echo) -> None:
    """From the answer to the first byte through the link, in one single attempt each, on a server without any key."""
    with (
        RealityTarget(NAMES) as target,
        Service(target, egress_allow=[echo.egress_rule]) as service,
        LeanClient(service) as client,
    ):
        began = time.perf_counter()
        service.wait_ready()
        say(f"\nall {len(NAMES)} server names ready {time.perf_counter() - began:.2f} s after the start")
        attempts = [first_byte(service, echo, client) for _ in range(20)]
    head("from the answer to the first byte, one attempt")
    row("with the start of a client", [whole for _, whole, _ in attempts])
    row("from the client being up", [bare for _, _, bare in attempts])
    for name in NAMES:
        bare = next((bare for sni, _, bare in attempts if sni == name), None)
        if bare is not None:
            say(f"  {name + ', first key since boot':<46} {bare * 1e3:8.2f}")
