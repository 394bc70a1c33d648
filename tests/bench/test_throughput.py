"""What the service costs the bytes that go through: its Xray beside one without mark and guard."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.bench.bare import BareXray
from tests.bench.book import Book, Figure, Spread
from tests.support.clients import XrayClient
from tests.support.counting import download
from tests.support.keys import link_of, make_key
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

RUNS, WARM_UP = 15, 2
RUN_BYTES = 400 * 10**6


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
            BareXray(service, key, tmp_path) as bare,
            XrayClient(link_of(service, key)) as served_vpn,
            XrayClient(bare.link) as bare_vpn,
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
            "Xray without mark and guard",
            floor.noise,
        )
    )
