"""A REALITY target on loopback: a TLS 1.3 + h2 site of its own process.

REALITY needs a real site behind it at every handshake. This one carries a certificate of our own
authority; give Xray `ca_file` as SSL_CERT_FILE and it trusts the site as it would a public one.
Each thing a bad target may do wrong is an option.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from tests.support.certificates import Authority
from tests.support.process import ModuleServer, announce_ready

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _SETTINGS, _PING, _CONTINUATION = 1, 4, 6, 9
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_CHANGED = "certificate changed"
_MAX_CONCURRENT_STREAMS = 3
_STATUS_200 = b"\x88"  # entry 8 of the static header table
_HTTP1_ANSWER = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: %d\r\n\r\n"


class RealityTarget(ModuleServer):
    """The target as a context manager: `address` for the settings, `ca_file` for Xray."""

    def __init__(  # noqa: PLR0913  (one option a fault)
        self,
        names: Sequence[str],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        certificate_names: Sequence[str] | None = None,
        tls13: bool = True,
        h2: bool = True,
        delay_s: float = 0.0,
        close_idle_s: float | None = None,
        handshake_s: float = 10.0,
    ) -> None:
        """Describe a good target, or one with faults.

        `certificate_names` puts other names on the certificate than those asked for; `tls13=False`
        offers TLS 1.2 alone; `h2=False` leaves h2 out of ALPN; `delay_s` keeps every new connection
        waiting before the handshake. `close_idle_s` ends a connection that has asked for nothing so
        long after its handshake: Xray's probes, which read for five seconds, are then over at once.
        `handshake_s` is how long it waits for the end of one.
        """
        options: dict[str, Any] = {"host": host, "port": port, "tls13": tls13, "h2": h2, "delay_s": delay_s}
        options |= {"close_idle_s": close_idle_s, "handshake_s": handshake_s}
        super().__init__(__name__, options)
        self.names = tuple(names)
        self._certificate_names = tuple(certificate_names or names)
        self._authority = Authority(self.directory)
        self.ca_file: Path = self._authority.ca_file
        certificate, key = self._authority.issue(self._certificate_names)
        self._options |= {"certificate": str(certificate), "key": str(key)}

    def change_certificate(self, der_bytes: int | None = None) -> None:
        """Show a new certificate from the next connection on, of this length if it is given."""
        already = self.log().count(_CHANGED)
        self._authority.issue(self._certificate_names, der_bytes)
        self.child.send_signal(signal.SIGHUP)
        self.child.wait_for(lambda: self.log().count(_CHANGED) > already, "new certificate")

    @property
    def address(self) -> str:
        """HOST:PORT, as the setting VPNKEYS_REALITY_TARGET takes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def page_of(size: int) -> bytes:
    """What the site shows at `/SIZE` to a client that speaks HTTP/1.1."""
    return bytes(range(256)) * (size // 256) + bytes(size % 256)


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class _Site(asyncio.Protocol):
    """One connection after its handshake: answers as a small site does, leaves closing to the peer."""

    def __init__(self, close_idle_s: float | None) -> None:
        """Wait for the connection."""
        self._close_idle_s = close_idle_s
        self._transport: asyncio.Transport | None = None
        self._is_h2 = False
        self._greeted = False
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """An h2 server speaks first: its SETTINGS follow the handshake at once."""
        self._transport = cast("asyncio.Transport", transport)
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        self._is_h2 = tls.selected_alpn_protocol() == "h2"
        if self._is_h2:
            limit = struct.pack(">HI", _MAX_CONCURRENT_STREAMS, 128)
            self._transport.write(_frame(_SETTINGS, 0, 0, limit))
        if self._close_idle_s is not None:
            asyncio.get_running_loop().call_later(self._close_idle_s, self._close_if_idle)

    def _close_if_idle(self) -> None:
        """End a connection that brought nothing, without a farewell: REALITY would imitate its record."""
        if self._transport is not None and not self._greeted and not self._buffer:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what came and answer what is complete."""
        self._buffer += data
        if self._is_h2:
            self._read_h2()
        else:
            self._read_http1()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _read_http1(self) -> None:
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            self._greeted = True
            wanted = head.split(b" ")[1].strip(b"/")
            body = page_of(int(wanted)) if wanted.isdigit() else b""
            self._write(_HTTP1_ANSWER % len(body) + body)

    def _read_h2(self) -> None:
        if not self._greeted:
            if len(self._buffer) < len(_PREFACE):
                return
            if not self._buffer.startswith(_PREFACE):
                if self._transport is not None:
                    self._transport.close()
                return
            self._greeted = True
            self._buffer = self._buffer[len(_PREFACE) :]
        while len(self._buffer) >= 9:
            length = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + length:
                return
            kind, flags, stream = struct.unpack(">BBI", self._buffer[3:9])
            payload = self._buffer[9 : 9 + length]
            self._buffer = self._buffer[9 + length :]
            self._answer_frame(kind, flags, stream, payload)

    def _answer_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            self._write(_frame(_SETTINGS, _ACK, 0))
        elif kind == _PING and not flags & _ACK:
            self._write(_frame(_PING, _ACK, 0, payload))
        elif kind in (_HEADERS, _CONTINUATION) and flags & _END_HEADERS:
            self._write(_frame(_HEADERS, _END_STREAM | _END_HEADERS, stream, _STATUS_200))


def _tls_context(options: dict[str, Any]) -> ssl.SSLContext:
    """The server's side of TLS with the faults asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options["certificate"], options["key"])
    context.set_alpn_protocols(["h2", "http/1.1"] if options["h2"] else ["http/1.1"])
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not options["tls13"]:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


async def _greet(sock: socket.socket, context: ssl.SSLContext, options: dict[str, Any]) -> None:
    """Bring one accepted connection through its handshake."""
    # Nothing is read before the delay is over: the peer's hello waits in the kernel, not lost.
    await asyncio.sleep(options["delay_s"])
    loop = asyncio.get_running_loop()
    try:
        await loop.connect_accepted_socket(
            lambda: _Site(options["close_idle_s"]), sock, ssl=context, ssl_handshake_timeout=options["handshake_s"]
        )
    except OSError as error:
        sys.stdout.write(f"handshake failed: {error}\n")


async def _serve(options: dict[str, Any]) -> None:
    """Accept connections for ever."""
    context = _tls_context(options)

    def reload() -> None:
        """Connections that come from now on see the certificate that stands in the file now."""
        context.load_cert_chain(options["certificate"], options["key"])
        sys.stdout.write(f"{_CHANGED}\n")

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    family = socket.AF_INET6 if ":" in options["host"] else socket.AF_INET
    address = (options["host"], options["port"])
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    with socket.create_server(address, family=family, backlog=1024) as listener:
        listener.setblocking(False)
        announce_ready(listener)
        while True:
            sock, _ = await loop.sock_accept(listener)
            task = loop.create_task(_greet(sock, context, options))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
