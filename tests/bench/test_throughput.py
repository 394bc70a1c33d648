"""What the service costs the bytes that go through: the same Xray with it and without."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.bench.book import Book, Figure, Spread
from tests.support.agreement import read_config
from tests.support.clients import XrayClient
from tests.support.counting import download
from tests.support.keys import Key, link_of, make_key
from tests.support.link import VlessLink
from tests.support.ports import free_port
from tests.support.process import ChildProcess
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

RUNS, WARM_UP = 15, 2
RUN_BYTES = 400 * 10**6


@contextmanager
def bare_xray(service: Service, key: Key, directory: Path) -> Iterator[VlessLink]:
    """The service's Xray once more, as it was started and with a key of its own port, and nobody who looks after it."""
    document = read_config(service)
    port = free_port()
    for inbound in document["inbounds"]:
        if inbound["tag"] == f"key-{key['id']}":
            inbound["port"] = port
    mine = ("api", f"key-{key['id']}")
    document["inbounds"] = [inbound for inbound in document["inbounds"] if inbound["tag"] in mine]
    file = directory / "config.json"
    file.write_text(json.dumps(document).replace(str(service.data_dir / "run"), str(directory)))
    pid = service.xray_pid()
    environment = dict(
        entry.split("=", 1) for entry in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in entry
    )
    program = str(Path(f"/proc/{pid}/exe").readlink())
    child = ChildProcess(
        [program, "run", "-c", str(file)], name="bare Xray", log_path=directory / "log", env=environment
    )
    try:
        child.wait_listening("127.0.0.1", port)
        yield replace(link_of(service, key), port=port)
    finally:
        child.stop()


def speed(vpn: XrayClient, server: ByteServer) -> float:
    """Megabytes a second of one download."""
    began = time.perf_counter()
    download(vpn.socks, server, RUN_BYTES)
    return RUN_BYTES / 1e6 / (time.perf_counter() - began)


def test_throughput(book: Book, bench_target: RealityTarget, tls_byte_server: ByteServer, tmp_path: Path) -> None:
    """Downloads with TLS 1.3 inside, in turn by the one and the other."""
    with Service(bench_target, egress_allow=[tls_byte_server.egress_rule]) as service:
        service.wait_ready()
        key = make_key(service)
        with (
            bare_xray(service, key, tmp_path) as bare,
            XrayClient(link_of(service, key)) as served_vpn,
            XrayClient(bare) as bare_vpn,
        ):
            served: list[float] = []
            alone: list[float] = []
            for run in range(RUNS + WARM_UP):
                for vpn, speeds in ((served_vpn, served), (bare_vpn, alone))[:: 1 if run % 2 else -1]:
                    speeds.append(speed(vpn, tls_byte_server))
    with_us, floor = Spread.of(served[WARM_UP:]), Spread.of(alone[WARM_UP:])
    book.add(
        Figure(
            "download through the VPN, p50",
            with_us.p50,
            "MB/s",
            "higher",
            0.98 * floor.p50,
            floor.p50,
            "the same Xray alone",
            floor.noise,
        )
    )
