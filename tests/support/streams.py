"""Traffic whose every byte is known: transfers checked by hash, echoes, idle connections."""

from __future__ import annotations

import hashlib
import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.certificates import Authority
from tests.support.known_bytes import known_chunks, receive_hashed, receive_line, send_known
from tests.support.process import ModuleServer
from tests.support.socks import Address, connect

_PING_BYTES = 32


class TransferError(AssertionError):
    """Bytes were lost, changed or invented on the way."""


class StreamServer(ModuleServer):
    """A server at the far end of the VPN, with TLS 1.3 of its own if asked for."""

    def __init__(self, kind: str, host: str, port: int, *, tls: bool, names: Sequence[str]) -> None:
        """Describe the server; entering the context starts it."""
        options = {"kind": kind, "host": host, "port": port, "certificate": "", "key": ""}
        super().__init__("tests.support.stream_server", options)
        self.ca_file: Path | None = None
        if tls:
            authority = Authority(self.directory)
            self.ca_file = authority.ca_file
            certificate, key = authority.issue([host, *names])
            self._options |= {"certificate": str(certificate), "key": str(key)}

    @property
    def address(self) -> Address:
        """(host, port) of the server."""
        return self.host, self.port

    @property
    def egress_rule(self) -> str:
        """This server as an entry of VPNKEYS_EGRESS_ALLOW."""
        return f"{self.host}/{128 if ':' in self.host else 32}:{self.port}"

    def open(self, proxy: Address | None, *, host: str | None = None, timeout: float = 60.0) -> socket.socket:
        """A connection to this server, by a SOCKS proxy or straight, inside TLS if it speaks TLS.

        `host` is another way to call the server, such as a name the far side has to resolve.
        """
        wanted = host or self.host
        if proxy is None:
            sock = socket.create_connection((wanted, self.port), timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            sock = connect(proxy, wanted, self.port, timeout)
        return sock if self.ca_file is None else wrap_tls(sock, self.ca_file, self.host)


class ByteServer(StreamServer):
    """Takes and gives known bytes; see `transfer`."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: bool = False,
        names: Sequence[str] = (),
    ) -> None:
        """Describe the server; port 0 is any free one."""
        super().__init__("bytes", host, port, tls=tls, names=names)


class Echo(StreamServer):
    """Sends back what it gets, by TCP and by UDP on the same port number."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: bool = False,
        names: Sequence[str] = (),
    ) -> None:
        """Describe the server; port 0 is any free one."""
        super().__init__("echo", host, port, tls=tls, names=names)


def wrap_tls(sock: socket.socket, ca_file: Path, name: str) -> ssl.SSLSocket:
    """TLS 1.3 over an open connection, the server's certificate checked for the name."""
    context = ssl.create_default_context(cafile=str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        return context.wrap_socket(sock, server_hostname=name)
    except BaseException:
        sock.close()
        raise


@dataclass(frozen=True)
class Transfer:
    """What one exchange with a ByteServer moved; both hashes were right."""

    up_bytes: int
    down_bytes: int
    duration_s: float
    peer: Address
    """Where the server saw the connection come from."""


def transfer(sock: socket.socket, up: int, down: int, seed: int = 1, rate: float | None = None) -> Transfer:
    """Move known bytes up, then down, over an open connection; it may be used again afterwards.

    Lengths and hashes are compared at both ends. `rate` slows the download (bytes a second).
    """
    started = time.monotonic()
    request = {"up": up, "down": down, "seed": seed, "rate": rate}
    sock.sendall(json.dumps(request).encode() + b"\n")
    sent_hash = send_known(sock, up, seed, "up")
    line = receive_line(sock)
    if not line:
        raise TransferError(f"the connection ended before the server had {up} bytes")
    answer = json.loads(line)
    if (answer["received"], answer["sha256"]) != (up, sent_hash):
        raise TransferError(f"sent {up} bytes ({sent_hash}), the server got {answer}")
    expected = hashlib.sha256()
    for chunk in known_chunks(down, seed, "down"):
        expected.update(chunk)
    received, received_hash = receive_hashed(sock, down)
    if (received, received_hash) != (down, expected.hexdigest()):
        raise TransferError(f"got {received} of {down} bytes, hash {received_hash}")
    host, port = answer["peer"]
    return Transfer(up, down, time.monotonic() - started, (host, port))


# Ours, and there and back: the client's, the server's and the far end's.
_WAKES_OF_A_TRIP = 6


@dataclass
class PingPong:
    """A message to an Echo every `interval_s` over one connection, in a thread of its own.

    It shows whether somebody's connection noticed what was done to others: every round trip is
    noted, and whether and when the connection broke.
    """

    sock: socket.socket
    interval_s: float = 0.05
    patience_s: float = 30.0
    round_trips_s: list[float] = field(default_factory=list)
    longest_stall_s: float = 0.0
    latest_wake_s: float = 0.0
    """By how much this machine at most woke the pings themselves too late."""
    broken: str | None = None
    broken_at: float | None = None
    """time.monotonic() of the break."""

    def __post_init__(self) -> None:
        """Prepare the thread; entering the context starts it."""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ping-pong", daemon=True)

    def _run(self) -> None:
        self.sock.settimeout(self.patience_s)
        number, due_at = 0, time.monotonic() + self.interval_s
        while not self._ending.wait(self.interval_s):
            number += 1
            sent_at = time.monotonic()
            self.latest_wake_s = max(self.latest_wake_s, sent_at - due_at)
            try:
                self._round_trip(number.to_bytes(_PING_BYTES, "big"))
            except (OSError, TransferError) as error:
                self._note_end(error, sent_at)
                return
            took = time.monotonic() - sent_at
            self.round_trips_s.append(took)
            self.longest_stall_s = max(self.longest_stall_s, took)
            due_at = sent_at + took + self.interval_s

    def _note_end(self, error: Exception, sent_at: float) -> None:
        if self._ending.is_set():
            return
        self.broken_at = time.monotonic()
        self.longest_stall_s = max(self.longest_stall_s, self.broken_at - sent_at)
        self.broken = f"{type(error).__name__}: {error}"

    def _round_trip(self, message: bytes) -> None:
        self.sock.sendall(message)
        answer = b""
        while len(answer) < len(message):
            part = self.sock.recv(len(message) - len(answer))
            if not part:
                raise ConnectionError("the connection was closed")
            answer += part
        if answer != message:
            raise TransferError(f"sent {message!r}, got {answer!r}")

    @property
    def stall_s(self) -> float:
        """The longest round trip, but for what a machine with other work may have made of it."""
        return max(0.0, self.longest_stall_s - _WAKES_OF_A_TRIP * self.latest_wake_s)

    def wait_broken(self, timeout: float) -> bool:
        """Whether the connection breaks within the time."""
        self._thread.join(timeout)
        return self.broken is not None

    def __enter__(self) -> Self:
        """Start sending."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop sending, after the round trip under way, and close the connection."""
        self._ending.set()
        self._thread.join(1.0)
        if self._thread.is_alive():
            # A stalled round trip: nobody waits for it any more.
            self.sock.shutdown(socket.SHUT_RDWR)
            self._thread.join()
        self.sock.close()


def open_idle(sock: socket.socket) -> socket.socket:
    """Prove by one round trip that a connection to an Echo carries bytes, then leave it idle."""
    sock.sendall(b"idle")
    received = b""
    while len(received) < 4:
        part = sock.recv(4 - len(received))
        if not part:
            raise TransferError("the connection ended before it carried anything")
        received += part
    return sock


def ended_within(sock: socket.socket, seconds: float) -> bool:
    """Whether an idle connection is ended by the other side within the time."""
    readable, _, _ = select.select([sock], [], [], seconds)
    if not readable:
        return False
    try:
        data = sock.recv(1)
    except OSError:
        return True
    if data:
        raise TransferError(f"an idle connection brought data: {data!r}")
    return True
