"""Free ports on this machine, never the same one for two test processes.

A process takes one window of ports for itself by the name of an abstract Unix socket, so pytest-xdist
workers and test runs started side by side cannot meet. Such names belong to a network namespace as
ports do (unix(7)), whoever's tests these are and in whatever root directory they run. All windows lie
below 32768, where the kernel starts to choose
ports for outgoing connections: a port found free stays free. They also lie above the product's
default range, which belongs to a service that may really be running.
"""

from __future__ import annotations

import atexit
import os
import re
import socket
from contextlib import ExitStack
from threading import RLock

_FIRST_PORT = 12000
_WINDOW_SIZE = 1000
_WINDOW_COUNT = 20


class NoFreePortError(RuntimeError):
    """Every window or every port of the window is taken."""


def _worker_number() -> int:
    """Number of this pytest-xdist worker ("gw3" is 3), 0 without xdist."""
    digits = re.search(r"\d+$", os.environ.get("PYTEST_XDIST_WORKER", ""))
    return int(digits.group()) if digits else 0


def _claim_windows(count: int) -> tuple[int, ExitStack]:
    """(first port, its locks) of windows side by side that are ours until this process ends or closes the locks."""
    starts = _WINDOW_COUNT - count + 1
    for step in range(starts):
        number = (_worker_number() + step) % starts
        with ExitStack() as locks:
            try:
                for one in range(number, number + count):
                    locks.enter_context(socket.socket(socket.AF_UNIX)).bind(f"\0vpnkeys-test-ports-{one}")
            except OSError:
                continue
            return _FIRST_PORT + number * _WINDOW_SIZE, locks.pop_all()
    raise NoFreePortError(f"no {count} of {_WINDOW_COUNT} port windows are left by other test processes")


def is_free(port: int) -> bool:
    """Whether no program holds the port, on any address, for TCP or UDP."""
    families = [(socket.AF_INET, "0.0.0.0")]  # noqa: S104  (bound for a moment, never listening)
    if socket.has_ipv6:
        families.append((socket.AF_INET6, "::"))
    with ExitStack() as stack:
        for family, anywhere in families:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                sock = stack.enter_context(socket.socket(family, kind))
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if kind == socket.SOCK_STREAM:
                    # Old connections in TIME_WAIT do not hinder the servers under test either.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    sock.bind((anywhere, port))
                except OSError:
                    return False
    return True


class _Window:
    """The ports of this process: handed out in turn, so that one just used rests for a while."""

    def __init__(self) -> None:
        """Claim nothing yet: importing this module must not take a lock."""
        self._guard = RLock()
        self._locks = ExitStack()
        atexit.register(self._locks.close)
        self._first = self._size = self._offset = 0
        self._reserved: set[int] = set()

    def take(self, size: int) -> range:
        """The next run of free, unreserved ports."""
        with self._guard:
            if size > self._size:
                self._claim(-(-size // _WINDOW_SIZE))
            for _ in range(self._size):
                if self._offset + size > self._size:
                    self._offset = 0
                start = self._first + self._offset
                ports = range(start, start + size)
                if self._reserved.isdisjoint(ports) and all(map(is_free, ports)):
                    self._offset += size
                    return ports
                self._offset += 1
        raise NoFreePortError(f"no {size} free ports side by side from {self._first} on")

    def _claim(self, count: int) -> None:
        """Go on in as many windows side by side; what was claimed before stays ours, as its ports may be in use."""
        self._first, locks = _claim_windows(count)
        self._locks.enter_context(locks)
        self._size, self._offset = count * _WINDOW_SIZE, 0

    def reserve(self, size: int) -> range:
        """The next run of free ports, not handed out again before `release`."""
        with self._guard:
            ports = self.take(size)
            self._reserved.update(ports)
            return ports

    def release(self, ports: range) -> None:
        """Give reserved ports back."""
        with self._guard:
            self._reserved.difference_update(ports)


_window = _Window()


def free_port() -> int:
    """A port on which nothing listens, and which no other test process will be given."""
    return _window.take(1)[0]


def reserve_range(size: int) -> range:
    """Free ports side by side, kept for the caller until `release_range`."""
    return _window.reserve(size)


def release_range(ports: range) -> None:
    """Give a reserved range back."""
    _window.release(ports)


def first_free_port(ports: range) -> int:
    """The lowest free port of a given range."""
    for port in ports:
        if is_free(port):
            return port
    raise NoFreePortError(f"no free port in {ports.start}-{ports.stop - 1}")
