"""A network of the tests' own: two namespaces joined by a cable, with listeners that note what arrives.

`near` is where the server under test lives, with private, public and metadata addresses of its own; `far` is somebody
on the internet. Nothing of it is seen outside, and nothing is left of it.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from tests.support import process
from tests.support.binaries import xray_binary

PRIVATE4, PRIVATE6, METADATA, LINK_LOCAL = "10.77.0.1", "fd77::1", "169.254.169.254", "fe80::77"
PUBLIC4, PUBLIC6 = "198.20.0.1", "2001:db8::1"  # the server's own
FAR4, FAR6 = "198.20.0.2", "2001:db8::2"  # somebody else's

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def can_make_rooms() -> bool:
    """Whether this process may make network namespaces and has what it takes to furnish them."""
    return os.geteuid() == 0 and all(map(shutil.which, ("ip", "nft", "unshare", "mount")))


def _checked(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _here() -> int:
    """A descriptor of the calling thread's network namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _enter(namespace: int) -> None:
    _checked(_libc.setns(namespace, _CLONE_NEWNET))


def _ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True, capture_output=True)


class Room:
    """Both namespaces. Inside the context the calling thread, and whatever it starts, lives in `near`."""

    def __init__(self, near: Path | None = None) -> None:
        """Describe it: `near` is the namespace of a machine of the tests, else a new one."""
        self._given = near

    def __enter__(self) -> Self:
        """Make and furnish the room."""
        self._home = _here()
        _checked(_libc.unshare(_CLONE_NEWNET))
        self._far = _here()
        if self._given is None:
            _checked(_libc.unshare(_CLONE_NEWNET))
            self._near = _here()
        else:
            self._near = os.open(self._given, os.O_RDONLY | os.O_CLOEXEC)
            _enter(self._near)
        try:
            self._furnish()
            process._spawner.submit(_enter, self._near).result()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Go home; the kernel takes the room apart when its last socket closes."""
        _enter(self._home)
        process._spawner.submit(_enter, self._home).result()
        for namespace in (self._home, self._far, self._near):
            os.close(namespace)

    def _furnish(self) -> None:
        far = f"/proc/{os.getpid()}/fd/{self._far}"
        _ip(
            "link set lo up",
            f"link add near type veth peer name far netns {far}",
            "link set near up",
            *(f"addr add {address} dev near" for address in (f"{PUBLIC4}/24", f"{PRIVATE4}/24", f"{METADATA}/32")),
            *(f"addr add {address}/64 dev near nodad" for address in (PUBLIC6, PRIVATE6, LINK_LOCAL)),
        )
        with self.far():
            _ip("link set lo up", "link set far up", f"addr add {FAR4}/24 dev far", f"addr add {FAR6}/64 dev far nodad")

    @contextmanager
    def far(self) -> Iterator[None]:
        """Sockets that the calling thread opens in here belong to `far`, and stay there."""
        _enter(self._far)
        try:
            yield
        finally:
            _enter(self._near)


class Listener:
    """Listens on one port of several addresses by TCP and UDP, notes what arrives and sends it back."""

    def __init__(self, hosts: Sequence[str], port: int = 0) -> None:
        """Open everything; the port is the same everywhere."""
        self.port = port or process.free_port()
        self.arrived: list[tuple[str, str, bytes]] = []  # (protocol, host, data); a bare connection has no data
        self.senders: set[tuple[str, int]] = set()  # of datagrams
        self._selector = selectors.DefaultSelector()
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            scope = (0, socket.if_nametoindex("near")) if host.startswith("fe80") else ()
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                self._open(family, kind, (host, self.port, *scope))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _open(self, family: socket.AddressFamily, kind: socket.SocketKind, address: tuple[str | int, ...]) -> None:
        sock = socket.socket(family, kind)
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        if kind is socket.SOCK_STREAM:
            sock.listen()
        self._selector.register(sock, selectors.EVENT_READ, ("tcp" if kind is socket.SOCK_STREAM else "udp", True))

    def _serve(self) -> None:
        while not self._stopping.is_set():
            for key, _ in self._selector.select(0.05):
                protocol, is_listening = key.data
                with suppress(OSError):
                    self._one(key.fileobj, protocol, is_listening=is_listening)  # type: ignore[arg-type]

    def _one(self, sock: socket.socket, protocol: str, *, is_listening: bool) -> None:
        host = sock.getsockname()[0]
        if protocol == "udp":
            data, sender = sock.recvfrom(2048)
            self.senders.add(sender[:2])
            self.arrived.append(("udp", host, data))
            sock.sendto(data, sender)
        elif is_listening:
            connection, _ = sock.accept()
            self.arrived.append(("tcp", host, b""))
            self._selector.register(connection, selectors.EVENT_READ, ("tcp", False))
        elif data := sock.recv(2048):
            sock.sendall(data)
        else:
            self._selector.unregister(sock)
            sock.close()

    def close(self) -> None:
        """Close everything."""
        self._stopping.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def __enter__(self) -> Self:
        """Listen until the end of the context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything."""
        self.close()


class Names:
    """A name server on port 53; a name with several addresses shows another one at each question."""

    def __init__(self, names: dict[str, list[str]], host: str = "127.0.0.1") -> None:
        """Serve until `close`; while `is_silent`, questions are lost."""
        self._names = names
        self.given: list[str] = []
        self.is_silent = False
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((host, 53))
        self._sock.settimeout(0.1)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                question, sender = self._sock.recvfrom(512)
                if not self.is_silent:
                    self._sock.sendto(self._answer(question), sender)

    def _answer(self, question: bytes) -> bytes:
        end = question.index(0, 12)
        labels, place = [], 12
        while place < end:
            labels.append(question[place + 1 : place + 1 + question[place]].decode().lower())
            place += 1 + question[place]
        (kind,) = struct.unpack_from("!H", question, end + 1)
        family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
        known = self._names.get(".".join(labels), [])
        fitting = [address for address in known if (":" in address) == (family is socket.AF_INET6) and family]
        if not fitting:
            return question[:2] + b"\x81\x80\0\1\0\0\0\0\0\0" + question[12 : end + 5]
        known.remove(fitting[0])
        known.append(fitting[0])
        self.given.append(fitting[0])
        raw = socket.inet_pton(family or socket.AF_INET, fitting[0])
        answer = struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(raw)) + raw
        return question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question[12 : end + 5] + answer

    def close(self) -> None:
        """End the server."""
        self._stopping.set()
        self._thread.join()
        self._sock.close()


def xray_asking_the_room(directory: Path) -> Path:
    """An Xray that asks `Names`, and nobody else, for names: only for it there is another /etc/resolv.conf."""
    resolv = directory / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    script = directory / "xray"
    mount = f'{shutil.which("mount")} --bind {resolv} /etc/resolv.conf && exec {xray_binary()} "$@"'
    script.write_text(f"#!/bin/sh\nexec {shutil.which('unshare')} --mount /bin/sh -c '{mount}' xray \"$@\"\n")
    script.chmod(0o755)
    return script


def settle() -> None:
    """Give what may still be on its way the time to arrive: half a second for paths that take milliseconds."""
    time.sleep(0.5)
