"""A long way between the two namespaces of a `Room`: two TUN devices and a process that keeps every packet a while.

It stands in for netem, which few kernels of test machines have. It carries some 500 Mbit/s.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.support.process import REPOSITORY, ChildProcess
from tests.support.room import Room, _enter

NEAR4, NEAR6 = "198.21.0.1", "2001:db8:1::1"
_FAR4, _FAR6 = "198.21.0.2", "2001:db8:1::2"

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_QUEUE_PACKETS = 5000
_PACKETS_AT_ONCE = 64


class LongPath:
    """The path as a context manager; `NEAR4` and `NEAR6` are the server's addresses on it."""

    def __init__(self, room: Room, rtt_ms: float, directory: Path) -> None:
        """Run the process and wait until both devices are there."""
        namespaces = [f"/proc/{os.getpid()}/fd/{number}" for number in (room._near, room._far)]
        log_path = directory / "longpath.log"
        self._child = ChildProcess(
            [sys.executable, "-m", __name__, json.dumps({"namespaces": namespaces, "delay_s": rtt_ms / 2000})],
            name="long path",
            log_path=log_path,
            cwd=REPOSITORY,
        )
        self._child.wait_for(lambda: "ready" in self._child.log(), "sign of being ready")

    def __enter__(self) -> Self:
        """Keep the path."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        self._child.stop()


def _open_tun(namespace: str, name: str, addresses: tuple[str, str]) -> int:
    """A descriptor of a new device in this namespace, which this process enters."""
    descriptor = os.open(namespace, os.O_RDONLY)
    _enter(descriptor)
    os.close(descriptor)
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    ipv4, ipv6 = addresses
    for command in (
        f"link set {name} up txqueuelen {_QUEUE_PACKETS}",
        f"addr add {ipv4}/24 dev {name}",
        f"addr add {ipv6}/64 dev {name} nodad",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    return tun


def _carry(near: int, far: int, delay_s: float) -> None:
    """Move packets for ever."""
    queues: dict[int, deque[tuple[float, bytes]]] = {near: deque(), far: deque()}  # by where they go
    opposite = {near: far, far: near}
    while True:
        dues = [queue[0][0] for queue in queues.values() if queue]
        wait = max(0.0, min(dues) - time.monotonic()) if dues else None
        for tun in select.select([near, far], [], [], wait)[0]:
            due = time.monotonic() + delay_s
            with suppress(BlockingIOError):
                for _ in range(_PACKETS_AT_ONCE):
                    queues[opposite[tun]].append((due, os.read(tun, 2048)))
        now = time.monotonic()
        for tun, queue in queues.items():
            while queue and queue[0][0] <= now:
                with suppress(OSError):
                    os.write(tun, queue.popleft()[1])


def _serve(options: dict[str, Any]) -> None:
    near_namespace, far_namespace = options["namespaces"]
    near = _open_tun(near_namespace, "long", (NEAR4, NEAR6))
    far = _open_tun(far_namespace, "long", (_FAR4, _FAR6))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    _carry(near, far, options["delay_s"])


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
