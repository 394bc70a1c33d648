"""What was counted of a key's traffic, by each one's own word: the API's, Xray's, the database's and the kernel's."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.support.keys import Key
from tests.support.known_bytes import CHUNK_BYTES, receive_line
from tests.support.rows import rows_of
from tests.support.service import Service
from tests.support.socks import Address
from tests.support.streams import ByteServer, TransferError, transfer
from vpnkeys.domain.errors import VpnKeysError
from vpnkeys.xray.rpc.counters import XrayCounters

_TCP_INFO_COUNTS = struct.Struct("=QQ")  # tcpi_bytes_acked, tcpi_bytes_received
_TCP_INFO_OFFSET = 120
_STILL_READINGS = 5


class Life(NamedTuple):
    """A life of Xray in the database, and what a key has used in it."""

    epoch: str
    last_sample_at: datetime
    ended_cleanly: bool | None
    used_bytes: int


def api_socket(service: Service) -> Path:
    """Xray's API."""
    return service.data_dir / "run" / "api.sock"


def total_bytes(service: Service, key: Key) -> int:
    """What the API says, sampled at this moment."""
    return int(service.client.get(f"/api/keys/{key['id']}/traffic").raise_for_status().json()["total_bytes"])


def gaps(service: Service, key: Key) -> list[dict[str, str]]:
    """The gaps that the API shows."""
    found: list[dict[str, str]] = service.client.get(f"/api/keys/{key['id']}/traffic").raise_for_status().json()["gaps"]
    return found


def xray_bytes(service: Service, key: Key) -> int:
    """The key's counters of the running Xray, both directions, by its own command line."""
    command = ["api", "statsquery", f"--server=unix://{api_socket(service)}", "--timeout=5"]
    done = subprocess.run(
        [service.env["VPNKEYS_XRAY_BIN"], *command, f"--pattern=user>>>{key['uuid']}>>>traffic"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise service.child.error(f"xray api statsquery: {done.stdout}{done.stderr}")
    return sum(int(stat.get("value", 0)) for stat in json.loads(done.stdout).get("stat", []))


def settled_xray_bytes(service: Service, key: Key) -> int:
    """The same, once it has stood still for half a second: a connection's farewell may come late."""
    last, still = -1, 0
    for _ in range(100):
        now = xray_bytes(service, key)
        still = still + 1 if now == last else 0
        if still == _STILL_READINGS:
            return now
        last = now
        time.sleep(0.1)
    raise service.child.error("Xray's counters do not stand still")


def exact_total_bytes(service: Service, key: Key) -> int:
    """The API's total, which has to lie between two readings of Xray's own, and to be the same when these are."""
    while True:
        before, total, after = xray_bytes(service, key), total_bytes(service, key), xray_bytes(service, key)
        assert before <= total <= after
        if before == after:
            return total


def lives(database: Path | str, key: Key) -> list[Life]:
    """The lives of Xray in a database, oldest first; reading changes nothing in it."""
    query = """
        SELECT e.epoch, e.last_sample_at, e.ended_cleanly, COALESCE(u.up_bytes + u.down_bytes, 0) FROM epochs AS e
        LEFT JOIN traffic_usage AS u ON u.epoch = e.epoch AND u.key_uuid = ? ORDER BY e.first_sample_at
    """
    return [
        Life(epoch, datetime.fromisoformat(str(last)), None if cleanly is None else bool(cleanly), used)
        for epoch, last, cleanly, used in rows_of(database, query, key["uuid"])
    ]


def hourly_bytes(database: Path | str, key: Key) -> int:
    """The sum of the hours."""
    hours = " + ".join(f"COALESCE({way}_{hour:02}, 0)" for hour in range(24) for way in ("up", "down"))
    query = f"SELECT COALESCE(SUM({hours}), 0) FROM traffic_history JOIN keys ON number = key_number WHERE uuid = ?"  # noqa: S608
    return int(rows_of(database, query, key["uuid"])[0][0])


def wire_bytes(sock: socket.socket) -> int:
    """What the kernel has carried over a connection, both ways: inside TLS this is more than was said."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    acked, received = _TCP_INFO_COUNTS.unpack_from(info, _TCP_INFO_OFFSET)
    return int(acked + received)


def now() -> datetime:
    """The time of day as the service notes it."""
    return datetime.now(UTC).replace(tzinfo=None)


@dataclass
class Progress:
    """How many bytes had come by when (time.monotonic())."""

    seen: list[tuple[float, int]] = field(default_factory=lambda: [(time.monotonic(), 0)])

    @property
    def bytes(self) -> int:
        """So many by now."""
        return self.seen[-1][1]

    def add(self, count: int) -> None:
        """So many more came just now."""
        self.seen.append((time.monotonic(), self.bytes + count))

    def lag_s(self, at: float, counted: int) -> float:
        """How long before a moment more had come than was counted then."""
        return max((max(0.0, at - when) for when, count in list(self.seen) if count > counted), default=0.0)


def download(
    proxy: Address, server: ByteServer, size: int, rate: float | None = None, progress: Progress | None = None
) -> Progress:
    """Get so many bytes, unchecked, over a connection of its own."""
    progress = progress or Progress()
    with server.open(proxy, timeout=60.0) as sock:
        sock.sendall(json.dumps({"up": 0, "down": size, "seed": 1, "rate": rate}).encode() + b"\n")
        assert receive_line(sock)
        buffer, left = bytearray(CHUNK_BYTES), size
        while left:
            count = sock.recv_into(buffer, min(left, CHUNK_BYTES))
            assert count
            left -= count
            progress.add(count)
    return progress


class Load:
    """Threads that move known bytes both ways, connection after connection, whatever happens to those."""

    def __init__(
        self, proxies: Sequence[Address], servers: Sequence[ByteServer], size: int = 300_000, pause_s: float = 0.0
    ) -> None:
        """Prepare: one thread for each proxy and server. `pause_s` is between two transfers of one connection."""
        self._size, self._pause_s = size, pause_s
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self.arrived_bytes = 0
        """Payload of whole transfers, known to have arrived."""
        self._threads = [
            threading.Thread(target=self._work, args=(proxy, server), daemon=True)
            for proxy in proxies
            for server in servers
        ]

    def _work(self, proxy: Address, server: ByteServer) -> None:
        while not self._ending.is_set():
            with suppress(OSError, TransferError, ValueError), server.open(proxy, timeout=3.0) as sock:
                for seed in range(1, 20):
                    if self._ending.wait(self._pause_s):
                        return
                    moved = transfer(sock, self._size, self._size, seed)
                    with self._lock:
                        self.arrived_bytes += moved.up_bytes + moved.down_bytes
            self._ending.wait(0.02)

    def __enter__(self) -> Self:
        """Start."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let each end its transfer, and its connection."""
        self._ending.set()
        for thread in self._threads:
            thread.join()


class Reading(NamedTuple):
    """What Xray had counted for a key, at the latest at this moment."""

    by: datetime
    used_bytes: int


class Watch:
    """Reads a key's counters from Xray all the time and keeps what it saw, by life."""

    def __init__(self, service: Service, key: Key) -> None:
        """Prepare; entering the context starts it."""
        self._counters = XrayCounters(api_socket(service))
        self._uuid = key["uuid"]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.readings: dict[str, list[Reading]] = {}

    def _read(self) -> None:
        while not self._ending.wait(0.02):
            with suppress(VpnKeysError):
                samples = self._counters.sample()
                used = samples.usage.get(self._uuid)
                reading = Reading(now(), used.total if used else 0)
                self.readings.setdefault(samples.epoch, []).append(reading)

    def seen_by(self, epoch: str, moment: datetime) -> int:
        """The most that was seen of a life until a moment."""
        return max((used for by, used in self.readings.get(epoch, ()) if by <= moment), default=0)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._ending.set()
        self._thread.join()
        self._counters.close()
