"""How long a key takes: the whole request beside what it cannot do without, and the time until its link works."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.bench.book import Book, Figure, Spread
from tests.bench.conftest import NAMES, make_many
from tests.support.agreement import read_config
from tests.support.clients import XrayClient
from tests.support.keys import link_of, list_keys
from tests.support.lean import LeanClient
from tests.support.service import Service
from tests.support.streams import Echo
from tests.support.target import RealityTarget

from vpnkeys.domain.inbound import Inbound
from vpnkeys.files import write_atomically
from vpnkeys.xray.config.reading import parse_inbound
from vpnkeys.xray.rpc.control import XrayControl

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

KEYS_PRESENT = (10, 50, 200, 1000)
SAMPLES, WARM_UP = 300, 20
ATTEMPTS = 20
BODY = b'{"name": "bench"}'


@pytest.fixture(scope="module", params=KEYS_PRESENT)
def present(request: pytest.FixtureRequest) -> int:
    """How many keys there are already: what a key costs shall not depend on it."""
    count: int = request.param
    return count


@pytest.fixture(scope="module")
def with_keys(bench_target: RealityTarget, far_end: Echo, present: int) -> Iterator[Service]:
    """A service with so many keys."""
    with Service(bench_target, egress_allow=[far_end.egress_rule], port_count=present + 20) as service:
        service.wait_ready()
        make_many(service, present)
        yield service


@dataclass
class Parts:
    """What making a key cannot do without, each alone: Xray's AddInbound, a durable commit, a durable config.json."""

    control: XrayControl
    inbound: Inbound
    database: sqlite3.Connection
    file: Path
    content: bytes

    def __call__(self) -> float:
        """One after the other; in milliseconds."""
        began = time.perf_counter()
        self.control.add(self.inbound)
        self.database.execute("BEGIN IMMEDIATE")
        self.database.execute("INSERT INTO keys (name, port) VALUES ('bench', 1)")
        self.database.execute("COMMIT")
        write_atomically(self.file, self.content)
        took = (time.perf_counter() - began) * 1e3
        self.control.remove(self.inbound.tag)
        return took


@pytest.fixture(scope="module")
def parts(with_keys: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """On the service's own Xray, and on the same disk."""
    directory = tmp_path_factory.mktemp("parts")
    with (
        closing(XrayControl(with_keys.data_dir / "run" / "api.sock")) as control,
        closing(sqlite3.connect(directory / "bench.db", isolation_level=None)) as database,
    ):
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            database.execute(f"PRAGMA {pragma}")
        database.execute("CREATE TABLE keys (id TEXT PRIMARY KEY, name TEXT, port INTEGER)")
        content = (with_keys.data_dir / "config.json").read_bytes()
        yield Parts(control, spare_inbound(with_keys), database, directory / "c", content)


def spare_inbound(service: Service) -> Inbound:
    """An inbound like a key's, on a port that no key has."""
    tag = f"key-{list_keys(service)[0]['id']}"
    (raw,) = [raw for raw in read_config(service)["inbounds"] if raw["tag"] == tag]
    inbound = parse_inbound(raw)
    assert isinstance(inbound, Inbound)
    return replace(inbound, tag="key-bench", port=service.ports[-1])


def test_whole_requests(book: Book, with_keys: Service, present: int, parts: Parts) -> None:
    """Creating and deleting over one kept TLS connection; in turn with the parts, so that all have the same machine."""
    creates, deletes, floors = [], [], []
    with LeanClient.of(with_keys) as client:
        for _ in range(WARM_UP + SAMPLES):
            began = time.perf_counter()
            key = client.ask("POST", "/api/keys", BODY)
            made = time.perf_counter()
            client.ask("DELETE", f"/api/keys/{key['id']}")
            creates.append((made - began) * 1e3)
            deletes.append((time.perf_counter() - made) * 1e3)
            floors.append(parts())
    create, delete, floor = (Spread.of(taken[WARM_UP:]) for taken in (creates, deletes, floors))
    what = "AddInbound, commit, config.json"
    book.add(Figure(f"create, {present} keys, p50", create.p50, "ms", "lower", 4, floor.p50, what, floor.noise))
    book.add(Figure(f"create, {present} keys, p95", create.p95, "ms", "lower", 8, floor.p95, what, floor.noise))
    book.add(Figure(f"delete, {present} keys, p50", delete.p50, "ms", "lower", None, floor.p50, what, floor.noise))


def test_the_first_byte(book: Book, far_end: Echo) -> None:
    """From the answer to the first byte, one single attempt for each key, on names that nobody has used since boot.

    The client's own start is left out: it is running when the measure begins. Its second connection is the floor: by
    then everybody knows everybody.
    """
    firsts, seconds = [], []
    with (
        RealityTarget(NAMES) as target,
        Service(target, egress_allow=[far_end.egress_rule], port_count=ATTEMPTS) as service,
        LeanClient.of(service) as client,
    ):
        service.wait_ready()
        for _ in range(ATTEMPTS):
            key = client.ask("POST", "/api/keys", BODY)
            with XrayClient(link_of(service, key)) as vpn:
                firsts.append(_byte(far_end, vpn))
                seconds.append(_byte(far_end, vpn))
    first, floor = Spread.of(firsts), Spread.of(seconds)
    what = "its next connection"
    book.add(Figure("answer to first byte, p50", first.p50, "ms", "lower", 10, floor.p50, what, floor.noise))
    book.add(Figure("answer to first byte, worst of 20", first.worst, "ms", "lower", 1000))


def _byte(far_end: Echo, vpn: XrayClient) -> float:
    """A connection through the VPN, a byte there and back; in milliseconds."""
    began = time.perf_counter()
    with far_end.open(vpn.socks) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
    return (time.perf_counter() - began) * 1e3
