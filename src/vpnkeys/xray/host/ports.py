"""Says whether a TCP port of this host is free, and keeps the ports of several servers on it apart.

Each server locks the ports of its keys, whether they work or not, so that another server hands none of them out. The
locks are on the file of the network namespace, `/proc/self/ns/net`, one byte for each port (F_OFD_SETLK of fcntl(2)):
every process of every user that shares our ports has the same file, one descriptor is enough for all ports, nothing
has to be written anywhere, and the kernel drops the locks of a server that ends, however it ends.
"""

import errno
import fcntl
import itertools
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Final

_log = logging.getLogger(__name__)

_NAMESPACE: Final = "/proc/self/ns/net"
_FLOCK: Final = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid
_PATIENCE_S: Final = 0.5


def is_free(port: int) -> bool:
    """Return whether no process listens on this TCP port, on any address of the host."""
    # By bind(): with SO_REUSEADDR it fails for listeners and for others' outgoing connections, not for TIME_WAIT. Xray
    # does not report a used port: it binds with SO_REUSEPORT, and two inbounds on one port both "succeed".
    return _can_bind(socket.AF_INET, "0.0.0.0", port) and _can_bind(socket.AF_INET6, "::", port)  # noqa: S104 - bound, never listening


def can_listen(address: str, port: int) -> bool:
    """Return whether no process listens on this TCP port where an inbound with this IP address would."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return _can_bind(family, address, port)


def binding_fault(address: str) -> str:
    """Return why no socket of this host can have an IP address, in the kernel's words; empty when one can."""
    # Bound as Xray binds, so that net.ipv4.ip_nonlocal_bind counts here too; port 0 is any that is free.
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def has_address(address: str) -> bool:
    """Return whether an inbound of this host can have this IP address."""
    return not binding_fault(address)


def _can_bind(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        # A host without IPv6 has nothing listening there.
        return error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}
    return True


class PortClaims:
    """The ports that this server has claimed among all servers of the host. Where a kernel cannot, none is refused."""

    def __init__(self) -> None:
        self._held: set[int] = set()
        self._lock = threading.Lock()
        try:
            self._file = os.open(_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self._file = -1
            _log.warning("ports cannot be kept apart from those of another server on this host: %s", error)

    def is_free(self, port: int) -> bool:
        """Return whether no other server has claimed this port."""
        return self._file < 0 or port in self._held or not self._is_claimed(port)

    def claim(self, ports: Collection[int]) -> frozenset[int]:
        """Claim these ports too; return those that another server has."""
        with self._lock:
            wanted = {*ports} - self._held
            if not wanted or self._file < 0:
                return frozenset()
            with self._alone():
                lost = frozenset(port for port in wanted if self._is_claimed(port))
                self._set(fcntl.F_RDLCK, wanted - lost)
            self._held |= wanted - lost
            return lost

    def release(self, ports: Collection[int]) -> None:
        """Let other servers have these ports."""
        with self._lock:
            gone = self._held.intersection(ports)  # none where nothing can be locked
            self._set(fcntl.F_UNLCK, gone)
            self._held -= gone

    def hold(self, ports: Collection[int]) -> frozenset[int]:
        """Claim exactly these ports, and release all others; return those that another server has."""
        self.release(self._held.difference(ports))
        return self.claim(ports)

    def close(self) -> None:
        """Release all of them."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file, self._held = -1, set()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other servers from claiming at the same moment; one that never ends is not waited for."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno != errno.EWOULDBLOCK or time.monotonic() > deadline:
                    break
                time.sleep(0.002)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _is_claimed(self, port: int) -> bool:
        """Return whether another server has locked this port: a write lock, which is only asked for, would fail."""
        try:
            answer = fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, port, 1))
        except OSError:
            return False
        return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)

    def _set(self, kind: int, ports: Collection[int]) -> None:
        # Read locks, because the file cannot be opened for writing.
        for first, count in _runs(ports):
            with suppress(OSError):
                fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _flock(kind, first, count))


def _flock(kind: int, first: int, count: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, first, count, 0)


def _runs(ports: Collection[int]) -> Iterator[tuple[int, int]]:
    """Yield each run of ports that follow each other: the first one, and how many."""
    for _, run in itertools.groupby(enumerate(sorted(ports)), lambda pair: pair[1] - pair[0]):
        members = [port for _, port in run]
        yield members[0], len(members)
