"""The far end of the tests' traffic, run as its own process: known bytes, or an echo.

A thread for each connection: sending and hashing leave the interpreter lock, and TLS stays simple.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import threading
from typing import Any

from tests.support.known_bytes import CHUNK_BYTES, receive_hashed, receive_line, send_known
from tests.support.process import announce_ready

_BIND_ATTEMPTS = 50


def _serve_bytes(sock: socket.socket) -> None:
    """Answer requests for known bytes until the peer closes."""
    while line := receive_line(sock):
        request = json.loads(line)
        received, digest = receive_hashed(sock, request["up"])
        if received < request["up"]:
            return
        answer = {"received": received, "sha256": digest, "peer": sock.getpeername()[:2]}
        sock.sendall(json.dumps(answer).encode() + b"\n")
        send_known(sock, request["down"], request["seed"], "down", request["rate"])


def _serve_echo(sock: socket.socket) -> None:
    """Send back whatever comes."""
    while data := sock.recv(CHUNK_BYTES):
        sock.sendall(data)


def _serve_udp(sock: socket.socket) -> None:
    """Send every datagram back where it came from."""
    while True:
        data, sender = sock.recvfrom(CHUNK_BYTES)
        with contextlib.suppress(OSError):
            sock.sendto(data, sender)


def _handle(sock: socket.socket, kind: str, context: ssl.SSLContext | None) -> None:
    """One connection from its TLS handshake, if any, to its end."""
    with contextlib.suppress(OSError), sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            (_serve_bytes if kind == "bytes" else _serve_echo)(sock)
            return
        with context.wrap_socket(sock, server_side=True) as inner:
            (_serve_bytes if kind == "bytes" else _serve_echo)(inner)


def _bind(options: dict[str, Any]) -> tuple[socket.socket, socket.socket | None]:
    """(TCP listener, UDP socket): an echo has both under the same number."""
    address = (options["host"], options["port"])
    family = socket.AF_INET6 if ":" in options["host"] else socket.AF_INET
    for _ in range(_BIND_ATTEMPTS):
        listener = socket.create_server(address, family=family, backlog=1024)
        if options["kind"] != "echo":
            return listener, None
        udp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            udp.bind(listener.getsockname())
        except OSError:
            udp.close()
            listener.close()
            continue
        return listener, udp
    raise OSError("found no number that is free for TCP and UDP")


def _tls_context(options: dict[str, Any]) -> ssl.SSLContext | None:
    """TLS 1.3 alone, as Vision splices nothing older."""
    if not options["certificate"]:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options["certificate"], options["key"])
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _serve(options: dict[str, Any]) -> None:
    """Accept connections for ever."""
    context = _tls_context(options)
    listener, udp = _bind(options)
    if udp is not None:
        threading.Thread(target=_serve_udp, args=(udp,), daemon=True).start()
    announce_ready(listener)
    while True:
        sock, _ = listener.accept()
        arguments = (sock, options["kind"], context)
        threading.Thread(target=_handle, args=arguments, daemon=True).start()


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
