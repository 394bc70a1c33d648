"""What live numbers cost: Xray with and without splicing, TLS 1.3 inside, by CPU, by speed and by lag."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from tests.support import procfs
from tests.support.binaries import xray_binary
from tests.support.clients import XrayClient
from tests.support.counting import Progress, download
from tests.support.keys import Key, link_of, make_key
from tests.support.known_bytes import CHUNK_BYTES, receive_line
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

from vpnkeys.xray.rpc.control import XrayControl

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

RUNS = int(os.environ.get("SPLICE_RUNS", "7"))
RUN_BYTES = 400 * 10**6
SLOW_BYTES, SLOW_RATE = 20 * 10**6, 2 * 10**6
READ_EVERY_S = 0.05
MODES = ("enable", "disable")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass
class Side:
    """One way to run Xray: a service, a key, a client on it, and the server's Xray."""

    mode: str
    service: Service
    key: Key
    client: XrayClient
    xray_pid: int
    control: XrayControl

    def cpu_s(self) -> float:
        """CPU seconds of the server's Xray so far, user and system."""
        fields = procfs._stat_fields(self.xray_pid)
        assert fields is not None
        return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND

    def counted(self) -> int:
        """What Xray has counted."""
        return sum(self.control.counters(f"user>>>{self.key['uuid']}>>>traffic").values())


def say(line: str) -> None:
    """A line of the report."""
    sys.stdout.write(f"{line}\n")


def xray_with(mode: str, directory: Path) -> Path:
    """An Xray whose splicing is on or off, whatever the service puts in its environment."""
    script = directory / f"xray-{mode}"
    script.write_text(f'#!/bin/sh\nexport XRAY_BUF_SPLICE={mode}\nexec {xray_binary()} "$@"\n')
    script.chmod(0o755)
    return script


def _xray_below(service: Service) -> int:
    return next(pid for pid in procfs.descendants(service.pid) if procfs.executable(pid) == xray_binary().resolve())


@pytest.fixture(scope="module")
def sides(
    target: RealityTarget, egress: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Side]]:
    """Both ways, side by side."""
    with ExitStack() as stack:
        found = []
        for mode in MODES:
            settings = {"VPNKEYS_XRAY_BIN": str(xray_with(mode, tmp_path_factory.mktemp(mode)))}
            service = stack.enter_context(Service(target, egress_allow=egress, settings=settings))
            service.wait_ready()
            key = make_key(service)
            client = stack.enter_context(XrayClient(link_of(service, key)))
            control = XrayControl(service.data_dir / "run" / "api.sock", timeout_s=5.0)
            stack.callback(control.close)
            found.append(Side(mode, service, key, client, _xray_below(service), control))
        yield found


def move(side: Side, server: ByteServer, up: int, down: int, rate: float | None = None) -> Progress:
    """Move bytes one way or the other; hashes are the other tests' business."""
    if not up:
        return download(side.client.socks, server, down, rate)
    zeros = bytes(CHUNK_BYTES)
    with server.open(side.client.socks, timeout=60.0) as sock:
        sock.sendall(json.dumps({"up": up, "down": 0, "seed": 1, "rate": None}).encode() + b"\n")
        for start in range(0, up, CHUNK_BYTES):
            sock.sendall(zeros[: min(CHUNK_BYTES, up - start)])
        assert receive_line(sock)
    return Progress()


def test_cost(sides: list[Side], tls_byte_server: ByteServer) -> None:
    """CPU seconds a gigabyte and megabytes a second, in interleaved runs."""
    say(f"\n{RUNS} interleaved runs of {RUN_BYTES / 1e6:.0f} MB, TLS 1.3 inside, load {os.getloadavg()[0]:.1f}")
    columns = f"{'CPU s/GB median':>16}{'min':>7}{'max':>7}{'MB/s median':>13}{'max':>7}"
    say(f"{'XRAY_BUF_SPLICE':<18}{'direction':<10}{columns}")
    results: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for run in range(RUNS):
        for direction in ("down", "up"):
            for side in sides if run % 2 else sides[::-1]:
                measured = _run(side, tls_byte_server, direction)
                results.setdefault((side.mode, direction), []).append(measured)
    for (mode, direction), runs in sorted(results.items(), key=lambda found: found[0][::-1]):
        cpus, speeds = [cpu for cpu, _ in runs], [speed for _, speed in runs]
        say(
            f"{mode:<18}{direction:<10}{statistics.median(cpus):>16.2f}{min(cpus):>7.2f}{max(cpus):>7.2f}"
            f"{statistics.median(speeds):>13.0f}{max(speeds):>7.0f}"
        )


def _run(side: Side, server: ByteServer, direction: str) -> tuple[float, float]:
    """(CPU seconds of the server's Xray a gigabyte, megabytes a second) of one transfer."""
    up, down = (RUN_BYTES, 0) if direction == "up" else (0, RUN_BYTES)
    cpu, began = side.cpu_s(), time.perf_counter()
    move(side, server, up, down)
    took = time.perf_counter() - began
    return (side.cpu_s() - cpu) / (RUN_BYTES / 1e9), RUN_BYTES / 1e6 / took


def watch(read: Callable[[], int], action: Callable[[], Progress]) -> tuple[float, float, list[int]]:
    """(greatest lag of what is read behind what came, seconds a reading takes, readings) during a download."""
    readings: list[tuple[float, int]] = []
    took: list[float] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(READ_EVERY_S):
            began = time.monotonic()
            readings.append((began, read()))
            took.append(time.monotonic() - began)

    thread = threading.Thread(target=look)
    thread.start()
    progress = action()
    done.set()
    thread.join()
    end = progress.seen[-1][0]
    lags = [progress.lag_s(at, counted) for at, counted in readings if at <= end]
    return max(lags, default=0.0), statistics.median(took), [counted for _, counted in readings]


@contextmanager
def fresh(side: Side) -> Iterator[Side]:
    """The same with a key of its own: spliced bytes of earlier connections still trickle into the old one's count."""
    key = make_key(side.service)
    with XrayClient(link_of(side.service, key)) as client:
        yield replace(side, key=key, client=client)


def test_lag(sides: list[Side], tls_byte_server: ByteServer) -> None:
    """How far Xray's counter is behind what the customer has, in a slow download and in a fast one; and afterwards."""
    say(f"\n{'XRAY_BUF_SPLICE':<18}{'download':<24}{'greatest lag s':>15}{'all counted s after its end':>30}")
    for name, size, rate in (("slow, 2 MB/s for 10 s", SLOW_BYTES, SLOW_RATE), ("fast, 400 MB", RUN_BYTES, None)):
        for wanted in sides:
            with fresh(wanted) as side:
                lag, _, _ = watch(side.counted, partial(move, side, tls_byte_server, 0, size, rate))
                ended = time.monotonic()
                assert wait_until(lambda side=side, size=size: side.counted() >= size, 30.0)  # type: ignore[misc]
                say(f"{side.mode:<18}{name:<24}{lag:>15.2f}{time.monotonic() - ended:>30.2f}")


def kernel_bytes(port: int) -> int:
    """Bytes that the kernel says were acknowledged and received on a server port's open connections."""
    done = subprocess.run(["ss", "-tinH", "sport", "=", f":{port}"], capture_output=True, text=True, check=True)
    return sum(int(count) for count in re.findall(r"bytes_(?:acked|received):(\d+)", done.stdout))


def test_the_kernels_numbers(sides: list[Side], tls_byte_server: ByteServer) -> None:
    """What TCP_INFO of the key's port says instead, while Xray splices: its lag, its excess, and what is left of it."""
    with fresh(sides[0]) as side:
        read = partial(kernel_bytes, side.key["port"])
        lag, took, readings = watch(read, partial(move, side, tls_byte_server, 0, SLOW_BYTES, SLOW_RATE))
        assert wait_until(lambda: side.counted() >= SLOW_BYTES, 30.0)
        counted = side.counted()
        assert wait_until(lambda: read() == 0, 30.0)
    say(f"\nTCP_INFO by `ss`, spliced, slow: greatest lag {lag:.2f} s, {took * 1e3:.0f} ms a reading")
    say(f"highest reading {max(readings)}, {max(readings) - counted:+} off Xray's {counted}; after the end it reads 0")
