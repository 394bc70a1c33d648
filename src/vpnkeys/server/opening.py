"""Looks at the first bytes of a connection, before its TLS handshake: who speaks, and in which protocol."""

import asyncio
import re
import socket
from contextlib import suppress
from http import HTTPStatus

_TLS_HANDSHAKE = 0x16  # the first byte of a ClientHello's record (RFC 8446, 5.1)
_RECORD_HEAD_BYTES = 5
_MOST_BYTES = 16 * 1024
_MOST_HEAD_BYTES = 8 * 1024
_LOOK_AGAIN_S = 0.01
_ALPN = b"\x0aacme-tls/1"  # with its length in front, as ALPN has it (RFC 7301)

_METHOD = re.compile(rb"[A-Z]{1,10}(?:\Z| (?:\Z|[!-~]))")
_REQUEST = re.compile(rb"[A-Z]{3,10} (/[!-~]*) HTTP/1\.[01]\r?\n")
_HOST = re.compile(rb"\r?\nhost:[ \t]*((?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?)[ \t]*\r?\n", re.IGNORECASE)


async def first_bytes(loop: asyncio.AbstractEventLoop, sock: socket.socket, *, all_of_hello: bool) -> bytes:
    """Return what the client has sent first, and leave it in the socket; nothing when it hung up. Raises OSError.

    With `all_of_hello` it waits until a ClientHello is there as a whole.
    """
    while True:
        try:
            seen = sock.recv(_MOST_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(loop, sock)
            continue
        if not (all_of_hello and is_tls(seen) and len(seen) < _hello_bytes(seen)):
            return seen
        await asyncio.sleep(_LOOK_AGAIN_S)  # the socket is readable already, and says nothing when more comes


def is_tls(seen: bytes) -> bool:
    """Return whether these bytes begin a TLS handshake."""
    return seen[:1] == bytes([_TLS_HANDSHAKE])


def is_plain_http(seen: bytes) -> bool:
    """Return whether these bytes begin an HTTP request without TLS, or can be the beginning of one."""
    return _METHOD.match(seen) is not None


def is_authority(seen: bytes) -> bool:
    """Return whether a ClientHello is that of an authority which checks this server (RFC 8737)."""
    return is_tls(seen) and _ALPN in seen


async def redirect(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Answer a request without TLS by a redirect to https, and close the connection. Raises OSError."""
    head = b""
    while b"\n\r\n" not in head and b"\n\n" not in head and len(head) < _MOST_HEAD_BYTES:
        more = await loop.sock_recv(sock, _MOST_HEAD_BYTES)
        if not more:
            return
        head += more
    await loop.sock_sendall(sock, _redirect_for(head))
    with suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
    # Closing with unread bytes would reset the connection, and with it the answer on its way.
    while await loop.sock_recv(sock, _MOST_HEAD_BYTES):
        pass


def _redirect_for(head: bytes) -> bytes:
    """Return the answer: to the same host and path, which the client named itself; nothing else is believed."""
    request, host = _REQUEST.match(head), _HOST.search(head)
    if request is None or host is None:
        text = b"This port speaks HTTPS only.\n"
        return _answer(HTTPStatus.BAD_REQUEST, text)
    location = b"https://" + host[1] + request[1]
    return _answer(HTTPStatus.PERMANENT_REDIRECT, b"This port speaks HTTPS: " + location + b"\n", location)


def _answer(status: HTTPStatus, text: bytes, location: bytes = b"") -> bytes:
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}".encode(),
        *([b"Location: " + location] if location else []),
        b"Content-Type: text/plain; charset=utf-8",
        b"Cache-Control: no-store",
        b"Connection: close",
        b"Content-Length: " + str(len(text)).encode(),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + text


def _hello_bytes(seen: bytes) -> int:
    """Return how long the first record is, as far as its head is there."""
    if len(seen) < _RECORD_HEAD_BYTES:
        return _RECORD_HEAD_BYTES
    return min(_RECORD_HEAD_BYTES + int.from_bytes(seen[3:5], "big"), _MOST_BYTES)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def _readable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Wait until the socket has bytes, or its client has hung up."""
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(sock)
