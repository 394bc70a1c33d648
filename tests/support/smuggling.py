"""Requests that two servers in a row could understand differently, each with another request hidden in it.

What a proxy in front takes as one request and the server as two, or the other way round, lets a stranger speak for
whoever comes next on that connection (RFC 9112, 11.2). The hidden one is `GET /health`, which anyone may ask: were it
taken as a request, it would be answered 200.
"""

from __future__ import annotations

HIDDEN = b"GET /health HTTP/1.1\r\nHost: hidden\r\n\r\n"


def _head(*lines: bytes, line: bytes = b"POST /api/ HTTP/1.1", host: bytes = b"Host: x\r\n") -> bytes:
    return line + b"\r\n" + host + b"".join(one + b"\r\n" for one in lines) + b"\r\n"


def _chunked(body: bytes, *lines: bytes) -> bytes:
    return _head(b"Transfer-Encoding: chunked", *lines) + body


_SIZE = str(len(HIDDEN)).encode()
_LENGTH = b"Content-Length: " + _SIZE
_CHUNK = b"%x" % len(HIDDEN)

REFUSED: dict[str, bytes] = {
    # Two measures of one body.
    "length and chunks": _chunked(b"0\r\n\r\n" + HIDDEN, b"Content-Length: 5"),
    "chunks and length": _head(_LENGTH, b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + HIDDEN,
    "two lengths": _head(b"Content-Length: 0", _LENGTH) + HIDDEN,
    "two equal lengths": _head(_LENGTH, _LENGTH) + HIDDEN,
    "lengths in a list": _head(b"Content-Length: 0, " + _SIZE) + HIDDEN,
    "length of another case twice": _head(b"content-length: 0", b"CONTENT-LENGTH: " + _SIZE) + HIDDEN,
    # A length that is no number.
    "length with a plus": _head(b"Content-Length: +" + _SIZE) + HIDDEN,
    "length with a minus": _head(b"Content-Length: -1") + HIDDEN,
    "length in hex": _head(b"Content-Length: 0x10") + HIDDEN,
    "length with a space within": _head(b"Content-Length: 1 0") + HIDDEN,
    "length with an underscore": _head(b"Content-Length: 1_0") + HIDDEN,
    "length with a point": _head(b"Content-Length: 1.0") + HIDDEN,
    "length too large for any number": _head(b"Content-Length: 18446744073709551617") + HIDDEN,
    "empty length": _head(b"Content-Length: ") + HIDDEN,
    "length of other digits": _head("Content-Length: ٣".encode()) + HIDDEN,
    # Encodings that are not quite `chunked`.
    "encoding with a tail": _head(b"Transfer-Encoding: xchunked", _LENGTH) + HIDDEN,
    "encoding after chunked": _head(b"Transfer-Encoding: chunked, identity") + b"0\r\n\r\n" + HIDDEN,
    "identity": _head(b"Transfer-Encoding: identity") + HIDDEN,
    "two encodings": _head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + b"0\r\n\r\n" + HIDDEN,
    "encoding in quotes": _head(b'Transfer-Encoding: "chunked"', _LENGTH) + HIDDEN,
    "encoding with a vertical tab": _head(b"Transfer-Encoding: \x0bchunked", _LENGTH) + HIDDEN,
    "encoding and a space before the colon": _head(b"Transfer-Encoding : chunked", _LENGTH) + b"0\r\n\r\n" + HIDDEN,
    "encoding in a folded line": _head(b"Transfer-Encoding:\r\n chunked", _LENGTH) + b"0\r\n\r\n" + HIDDEN,
    "encoding of HTTP/1.0": _head(b"Transfer-Encoding: chunked", _LENGTH, line=b"POST /api/ HTTP/1.0") + HIDDEN,
    # Chunks that are measured oddly.
    "chunk with a sign": _chunked(b"+0\r\n\r\n" + HIDDEN),
    "chunk with 0x": _chunked(b"0x0\r\n\r\n" + HIDDEN),
    "chunk with a space before": _chunked(b" 0\r\n\r\n" + HIDDEN),
    "chunk that is no number": _chunked(b"g\r\n\r\n" + HIDDEN),
    "chunk too large for any number": _chunked(b"fffffffffffffffff\r\n" + HIDDEN),
    "chunk that is longer than it says": _chunked(b"1\r\nab\r\n0\r\n\r\n" + HIDDEN),
    "chunk that ends in a bare line feed": _chunked(b"1\na\r\n0\r\n\r\n" + HIDDEN),
    "chunk whose extension has a bare line feed": _chunked(b"0;x\n\r\n" + HIDDEN),
    "chunk without its line end": _chunked(b"1\r\na0\r\n\r\n" + HIDDEN),
    "trailer with a length": _chunked(b"0\r\nno trailer\r\n\r\n" + HIDDEN),
    # Headers that are read as one by some and as two by others.
    "folded header": _head(b"X-A: b\r\n c") + HIDDEN,
    "folded header with a tab": _head(b"X-A: b\r\n\tc") + HIDDEN,
    "space before the first header": b"GET /api/ HTTP/1.1\r\n Host: x\r\n\r\n" + HIDDEN,
    "space in a name": _head(b"X A: b") + HIDDEN,
    "space before the colon": _head(b"X-A : b") + HIDDEN,
    "no colon": _head(b"X-A") + HIDDEN,
    "no name": _head(b": b") + HIDDEN,
    "NUL in a value": _head(b"X-A: b\0c") + HIDDEN,
    "NUL in a name": _head(b"X\0A: b") + HIDDEN,
    "carriage return in a value": _head(b"X-A: b\rContent-Length: 0") + HIDDEN,
    "bare line feeds": b"GET /api/ HTTP/1.1\nHost: x\n\n" + HIDDEN,
    "bare carriage returns": b"GET /api/ HTTP/1.1\rHost: x\r\r" + HIDDEN,
    # A first line that is none.
    "tab for a space": _head(line=b"GET\t/api/\tHTTP/1.1") + HIDDEN,
    "no version": b"GET /api/\r\n\r\n" + HIDDEN,
    "HTTP/2 by its words": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
    "version 1.2": _head(line=b"GET /api/ HTTP/1.2") + HIDDEN,
    "version in small letters": _head(line=b"GET /api/ http/1.1") + HIDDEN,
    "a space in the path": _head(line=b"GET /api/ x HTTP/1.1") + HIDDEN,
    "NUL in the path": _head(line=b"GET /api/\0 HTTP/1.1") + HIDDEN,
    "method in small letters": _head(line=b"get /api/ HTTP/1.1") + HIDDEN,
    "a tunnel": _head(line=b"CONNECT example.com:443 HTTP/1.1") + HIDDEN,
    "a path of other letters": _head(line="GET /é HTTP/1.1".encode()) + HIDDEN,
    "a broken address": _head(line=b"GET http://[::1 HTTP/1.1") + HIDDEN,
    "a host without a path": _head(line=b"GET http://x HTTP/1.1") + HIDDEN,
    "a question and nothing else": _head(line=b"GET ? HTTP/1.1") + HIDDEN,
    # Who is meant.
    "no host": _head(line=b"GET /api/ HTTP/1.1", host=b"") + HIDDEN,
    "two hosts": _head(b"Host: y", line=b"GET /api/ HTTP/1.1") + HIDDEN,
    # More than a head may have.
    "a long header": _head(b"X-A: " + b"a" * 40_000) + HIDDEN,
    "a long path": _head(line=b"GET /" + b"a" * 70_000 + b" HTTP/1.1") + HIDDEN,
    "many headers": _head(*(b"X-%d: a" % number for number in range(200))) + HIDDEN,
    "a long chunk extension": _chunked(b"0;" + b"a" * 1_000_000 + b"\r\n\r\n" + HIDDEN),
}
"""By name; each has to be answered by one 4xx or by none, and the connection has to be closed."""


def answers_in(stream: bytes) -> list[int]:
    """The statuses of all answers in what a server sent, whatever is between them."""
    return [int(part[:3]) for part in stream.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()]
