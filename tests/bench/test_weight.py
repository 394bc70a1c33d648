"""What a server with a hundred keys takes to start and to be there, beside a Python that only imports its libraries."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import pytest
from tests.bench.book import Book, Figure, Spread
from tests.support.empty_app import EmptyApp
from tests.support.procfs import cpu_s, resident_mb
from tests.support.service import Service

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

IDLE_S = 20.0
STARTS = 5
LIBRARIES = """
import cryptography.hazmat.primitives.asymmetric.x25519, cryptography.x509, fastapi, google.protobuf.descriptor_pb2
import h2.connection, httptools, orjson, sqlalchemy.dialects.sqlite.pysqlite, typer, uvicorn, uvloop
import uvicorn.protocols.http.httptools_impl
"""


def libraries() -> tuple[float, float]:
    """(seconds until a Python has imported the libraries alone and has ended, its memory in 10^6 bytes)."""
    told = 'print(next(line for line in open("/proc/self/status") if line.startswith("VmRSS:")).split()[1])'
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", f"{LIBRARIES}{told}"], capture_output=True, text=True, check=True)
    return time.perf_counter() - began, int(done.stdout) * 1024 / 1e6


def test_start(book: Book, full: Service) -> None:
    """From the start of the process to the first answer, Xray and its hundred keys included; and to the last name."""
    answers, customers, floors = [], [], []
    for _ in range(STARTS):
        full.stop()
        began = time.perf_counter()
        full.start()
        answers.append(time.perf_counter() - began)
        full.wait_ready()
        customers.append(time.perf_counter() - began)
        floors.append(libraries()[0])
    floor = Spread.of(floors)
    book.add(
        Figure(
            "start to first answer, 100 keys",
            Spread.of(answers).p50,
            "s",
            "lower",
            1.0,
            floor.p50,
            "its libraries alone",
            max(floors) / min(floors) - 1,
        )
    )
    book.add(Figure("start to every server name ready, 100 keys", Spread.of(customers).p50, "s"))


def test_idle(book: Book, full: Service) -> None:
    """Memory and CPU of the service, without Xray's, after a restart on a hundred keys."""
    full.stop()
    full.start()
    full.wait_ready()
    time.sleep(5)
    least = statistics.median(libraries()[1] for _ in range(3))
    memory = resident_mb(full.pid)
    book.add(Figure("memory, 100 keys, idle", memory, "MB", "lower", 80, least, "its libraries alone"))
    tls = full.data_dir / "tls"
    with EmptyApp(str(tls / "cert.pem"), str(tls / "key.pem")) as empty:
        pids = full.pid, empty.child.pid
        before = [cpu_s(pid) for pid in pids]
        time.sleep(IDLE_S)
        ours, floor = ((cpu_s(pid) - then) / IDLE_S * 100 for pid, then in zip(pids, before, strict=True))
    book.add(Figure("CPU, 100 keys, idle", ours, "%", "lower", 0.5, floor, "empty server"))
