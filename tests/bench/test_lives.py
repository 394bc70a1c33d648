"""Ends, of Xray and of keys, and what one customer notices of all the others."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.bench.bare import BareXray
from tests.bench.book import Book, Figure, Spread
from tests.bench.conftest import make_many
from tests.support.clients import XrayClient
from tests.support.keys import Key, carries, link_of, list_keys, make_key
from tests.support.lean import LeanClient
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer, Echo, PingPong
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]


def test_xray_killed(book: Book, bench_target: RealityTarget, tmp_path: Path) -> None:
    """From the end of Xray to bytes through a key that was there; the same Xray started by hand is the floor."""
    with ByteServer() as server, Service(bench_target, egress_allow=[server.egress_rule]) as service:
        service.wait_ready()
        key = make_key(service)
        times, floors = [], []
        bare = BareXray(service, key, tmp_path)
        with XrayClient(link_of(service, key)) as client, XrayClient(bare.link) as bare_client, bare:
            assert carries(client.socks, server)
            for _ in range(3):
                time.sleep(11)  # a life that ended young would be waited for
                bare.kill()
                bare.start()
                floors.append(_until_it_works(bare_client, server))
                os.kill(service.xray_pid(), signal.SIGKILL)
                times.append(_until_it_works(client, server))
        took, floor = Spread.of(times).p50, Spread.of(floors).p50
        book.add(
            Figure("Xray killed to the key working again", took, "s", "lower", 1.0, floor, "the same Xray by hand")
        )


def _until_it_works(client: XrayClient, server: ByteServer) -> float:
    """Seconds until bytes get through."""
    began = time.perf_counter()
    assert wait_until(lambda: carries(client.socks, server, 0.5), 30)
    return time.perf_counter() - began


def test_the_end_with_many_keys(book: Book, bench_target: RealityTarget) -> None:
    """From SIGTERM to the end of the process, with the last sample taken and Xray ended; systemd allows 20 s."""
    with Service(bench_target, port_count=900) as service:
        service.wait_ready()
        make_many(service, 900)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            assert service.stop() == 0
            times.append(time.perf_counter() - began)
            service.start()
            service.wait_ready()
    book.add(Figure("SIGTERM to the end, 900 keys", Spread.of(times).p50, "s", "lower", 5.0))


def test_the_end_with_all_connected(book: Book, bench_target: RealityTarget, far_end: Echo) -> None:
    """From SIGTERM to the end of the process, with a customer, an idle client of the API and a stream of events."""
    times = []
    for _ in range(5):
        with ExitStack() as stack:
            service = stack.enter_context(Service(bench_target, egress_allow=[far_end.egress_rule]))
            service.wait_ready()
            client = stack.enter_context(XrayClient(link_of(service, make_key(service))))
            pings = stack.enter_context(PingPong(far_end.open(client.socks)))
            assert wait_until(lambda: len(pings.round_trips_s) > 3)  # noqa: B023 - called now
            idle, follower = (stack.enter_context(service.new_client()) for _ in range(2))
            idle.get("/health")
            events = stack.enter_context(follower.stream("GET", "/api/events"))
            assert next(events.iter_bytes())
            began = time.perf_counter()
            service.child.send_signal(signal.SIGTERM)
            assert service.child.wait(20.0) == 0
            times.append(time.perf_counter() - began)
            assert "ERROR" not in service.log()
    book.add(Figure("SIGTERM to the end, all connected", Spread.of(times).p50, "s", "lower", 0.3))


def test_neighbour(book: Book, full: Service, far_end: Echo) -> None:
    """The longest stall of a customer's 50 ms ping-pong while other keys come and go."""
    key = list_keys(full)[0]
    with (
        XrayClient(link_of(full, key)) as vpn,
        far_end.open(vpn.socks) as sock,
        PingPong(sock) as alone,
    ):
        time.sleep(3)
        quiet = alone.longest_stall_s * 1e3
        with LeanClient.of(full) as client:
            for _ in range(100):
                made = client.ask("POST", "/api/keys", b'{"name": "passing"}')
                client.ask("DELETE", f"/api/keys/{made['id']}")
        assert alone.broken is None
        stall = alone.longest_stall_s * 1e3
    book.add(
        Figure(
            "longest stall of a neighbour, 100 keys come and go",
            stall,
            "ms",
            "lower",
            100,
            quiet,
            "no keys coming or going",
        )
    )


def test_deleted(book: Book, full: Service, far_end: Echo) -> None:
    """How long after the answer a deleted key's open connection still gives a byte."""
    late = []
    for _ in range(5):
        key: Key = make_key(full, "to go")
        with XrayClient(link_of(full, key)) as vpn, far_end.open(vpn.socks) as sock, PingPong(sock, 0.001) as talk:
            time.sleep(0.2)
            full.client.delete(f"/api/keys/{key['id']}")
            answered, count = time.monotonic(), len(talk.round_trips_s)
            talk.wait_broken(5)
            assert talk.broken_at is not None
            late.append(float(len(talk.round_trips_s) - count))
            assert talk.broken_at - answered < 1
    book.add(Figure("round trips through a deleted key after the answer", max(late), "", goal=0))
