"""How fast what is known is told: one key and a hundred, one connection and sixteen."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from tests.bench.book import Book, Figure, Spread
from tests.bench.wrk import rate
from tests.support.empty_app import EmptyApp
from tests.support.keys import list_keys
from tests.support.lean import LeanClient
from tests.support.service import Service

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

SAMPLES = 400
ROUNDS, ROUND_S = 3, 3


@pytest.fixture(scope="module")
def empty(full: Service) -> Iterator[EmptyApp]:
    """A server like the service's, with a handler that does nothing."""
    tls = full.data_dir / "tls"
    with EmptyApp(str(tls / "cert.pem"), str(tls / "key.pem")) as server:
        yield server


def test_the_floor_listens_like_the_service(full: Service, empty: EmptyApp) -> None:
    """The kernel says the same of both listeners: how many may wait, and how much a connection may hold."""
    ours, floor = (_listener(port) for port in (full.address[1], empty.port))
    assert ours == floor


def _listener(port: int) -> tuple[str, str]:
    """(backlog, receive buffer) of a listening port."""
    said = subprocess.run(["ss", "-Hltnm", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"LISTEN\s+\d+\s+(\d+).*?,rb(\d+),", said, re.DOTALL)
    assert match is not None, said
    return match[1], match[2]


def timed(act: Callable[[], object], count: int = SAMPLES) -> Spread:
    """How long something takes, in milliseconds."""
    taken = []
    for _ in range(count + 20):
        began = time.perf_counter()
        act()
        taken.append((time.perf_counter() - began) * 1e3)
    return Spread.of(taken[20:])


def test_one_connection(book: Book, full: Service, empty: EmptyApp) -> None:
    """Over one kept TLS connection."""
    key_id = list_keys(full)[50]["id"]
    with LeanClient.of(full) as client, LeanClient.of(full, address=(empty.host, empty.port)) as nothing:
        floor = timed(lambda: nothing.ask("GET", "/"))
        one = timed(lambda: client.ask("GET", f"/api/keys/{key_id}"))
        hundred = timed(lambda: client.ask("GET", "/api/keys"))
    common = {"floor": floor.p50, "floor_is": "empty server", "noise": floor.noise}
    book.add(Figure("get one key, p50", one.p50, "ms", goal=0.6, **common))  # type: ignore[arg-type]
    book.add(Figure("list 100 keys, p50", hundred.p50, "ms", goal=2.0, **common))  # type: ignore[arg-type]


def test_sixteen_connections(book: Book, full: Service, empty: EmptyApp) -> None:
    """Floor and figures in turn, so that all of them have the same machine."""
    key_id = list_keys(full)[50]["id"]
    urls = {
        "empty": f"https://{empty.host}:{empty.port}/",
        "one": f"{full.base_url}/api/keys/{key_id}",
        "hundred": f"{full.base_url}/api/keys",
        "traffic": f"{full.base_url}/api/keys/{key_id}/traffic",
    }
    rates: dict[str, list[float]] = {name: [] for name in urls}
    for _ in range(ROUNDS):
        for name, url in urls.items():
            rates[name].append(rate(url, full.api_key, ROUND_S))
    floor = Spread.of(rates["empty"])
    noise = max(rates["empty"]) / min(rates["empty"]) - 1

    def figure(name: str, what: str, goal: float) -> Figure:
        value = Spread.of(rates[what]).p50
        return Figure(name, value, "1/s", "higher", goal, floor.p50, "empty server", noise)

    book.add(figure("get one key, 16 connections", "one", 3000))
    book.add(figure("list 100 keys, 16 connections", "hundred", 2000))
    book.add(figure("GET …/traffic, 16 connections", "traffic", 500))
