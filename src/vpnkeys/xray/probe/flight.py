"""Reads a target's first answer as Xray's REALITY server does, to find out whether REALITY can use it.

REALITY passes each client's ClientHello on to the target, and imitates the records of the answer by their lengths
(`tls.go` of xtls/reality): ServerHello, ChangeCipherSpec, then EncryptedExtensions, Certificate, CertificateVerify and
Finished, each in a record of its own or all four in one. It ends the connection at any other answer, and at a record
above 8,192 bytes (Xray 26.3.27). Nothing has to be decrypted for this check: lengths and types of records are plain.
"""

import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence

from vpnkeys.xray.probe.resolver import Address, places_of

MAX_RECORD_BYTES = 8192
"""The size of a record, its five bytes of header included, above which REALITY lets no client in."""

X25519 = 0x001D
X25519MLKEM768 = 0x11EC
"""The post-quantum key exchange group of browsers (draft-ietf-tls-ecdhe-mlkem)."""

_LEAST_S = 0.1  # for an answer, when the name took all the time to resolve
_SHARE_BYTES = 32
_HEADER_BYTES = 5
_HANDSHAKE, _CHANGE_CIPHER_SPEC, _APPLICATION_DATA = 22, 20, 23
_SERVER_HELLO = 2
# A ServerHello with this random is a HelloRetryRequest (RFC 8446, 4.1.3).
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
_ALL_IN_ONE_BYTES = 512  # EncryptedExtensions alone are shorter; REALITY decides by the same number
_ENCRYPTED_RECORDS = 4
# Those of Chrome, in its order: a target may choose its certificate by them.
_SIGNATURE_ALGORITHMS = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)
AES_128_GCM_SHA256 = 0x1301
"""The cipher suite that every TLS 1.3 server has (RFC 8446, 9.1)."""
_SUITES = (AES_128_GCM_SHA256, 0x1302, 0x1303)

Record = tuple[int, bytes]


class FlightUnfit(ValueError):
    """Raised when REALITY cannot use a target's answer; the text says why, and continues "the target …"."""


def check_target(target: str, server_name: str, latest: Address, within_s: float) -> None:
    """Return when REALITY can use what a target answers now. Raises FlightUnfit; OSError when it does not answer.

    The target, HOST:PORT, is asked once only, where it answered latest if its name still leads there: Xray resolves
    the name for each connection of a customer.
    """
    ends_at = time.monotonic() + within_s
    places = places_of(target, within_s)
    place = latest if latest in places else places[0]
    check_flight(place, server_name, max(ends_at - time.monotonic(), _LEAST_S))


def check_flight(address: Address, server_name: str, timeout_s: float) -> None:
    """Return when REALITY can use what a target answers now. Raises FlightUnfit; OSError when it does not answer."""
    # Without certificate compression (RFC 8879): browsers offer it, other clients do not, and all must get in.
    hello = client_hello(server_name, X25519, os.urandom(_SHARE_BYTES))
    ends_at = time.monotonic() + timeout_s
    with socket.create_connection(address, timeout=timeout_s) as target:
        target.sendall(hello)
        answer = records(target, ends_at)
        kind, body = next(answer)
        if not is_server_hello(kind, body):
            raise FlightUnfit("does not complete a TLS 1.3 handshake with X25519")
        if next(answer)[0] != _CHANGE_CIPHER_SPEC:
            raise FlightUnfit("does not answer as TLS 1.3 does")
        for number in range(_ENCRYPTED_RECORDS):
            kind, body = next(answer)
            if kind != _APPLICATION_DATA:
                raise FlightUnfit("does not answer as TLS 1.3 does")
            if number == 0 and len(body) > _ALL_IN_ONE_BYTES:
                return


def is_server_hello(kind: int, body: bytes) -> bool:
    """Return whether a record is a ServerHello that accepts the key share."""
    return kind == _HANDSHAKE and body[:1] == bytes([_SERVER_HELLO]) and body[6:38] != _RETRY


def records(target: socket.socket, ends_at: float) -> Iterator[Record]:
    """Yield the type and the content of each record that arrives. Raises OSError, FlightUnfit for one too long."""
    seen = b""
    while True:
        seen = _received(target, seen, _HEADER_BYTES, ends_at)
        size = _HEADER_BYTES + int.from_bytes(seen[3:5], "big")
        if size > MAX_RECORD_BYTES:
            raise FlightUnfit(
                f"sends a certificate record of {size:,} bytes, and Xray lets no client in above {MAX_RECORD_BYTES:,}"
            )
        seen = _received(target, seen, size, ends_at)
        yield seen[0], seen[_HEADER_BYTES:size]
        seen = seen[size:]


def _received(target: socket.socket, seen: bytes, count: int, ends_at: float) -> bytes:
    """Return what was received, at least `count` bytes of it. Raises OSError."""
    while len(seen) < count:
        target.settimeout(max(ends_at - time.monotonic(), 0.001))
        more = target.recv(16384)
        if not more:
            raise ConnectionResetError("it closed the connection")
        seen += more
    return seen


def knows_group(address: Address, server_name: str, group: int, timeout_s: float) -> bool:
    """Return whether a server supports a key exchange group, which this Python's OpenSSL may not know."""
    # The ClientHello offers that group alone, without a key share. A server that supports it asks for a share with a
    # HelloRetryRequest (RFC 8446, 4.1.4), which has the type of a ServerHello; any other one sends an alert.
    try:
        with socket.create_connection(address, timeout=timeout_s) as target:
            target.sendall(client_hello(server_name, group))
            kind, body = next(records(target, time.monotonic() + timeout_s))
    except (OSError, FlightUnfit):
        return False
    return kind == _HANDSHAKE and body[:1] == bytes([_SERVER_HELLO])


def client_hello(server_name: str, group: int, share: bytes = b"", suites: Sequence[int] = _SUITES) -> bytes:
    """Return a TLS 1.3 ClientHello record (RFC 8446, 4.1.2) with one group, and a key share unless it is empty."""
    name = server_name.encode("ascii")
    shares = struct.pack("!HH", group, len(share)) + share if share else b""
    signatures = struct.pack(f"!{len(_SIGNATURE_ALGORITHMS)}H", *_SIGNATURE_ALGORITHMS)
    extensions = b"".join(
        struct.pack("!HH", kind, len(body)) + body
        for kind, body in (
            (0, struct.pack("!HBH", len(name) + 3, 0, len(name)) + name),  # server_name
            (10, struct.pack("!HH", 2, group)),  # supported_groups
            (13, struct.pack("!H", len(signatures)) + signatures),  # signature_algorithms
            (16, b"\x00\x0c\x02h2\x08http/1.1"),  # ALPN
            (43, b"\x02\x03\x04"),  # supported_versions: TLS 1.3
            (51, struct.pack("!H", len(shares)) + shares),  # key_share
        )
    )
    body = (
        # With a session id a server sends ChangeCipherSpec (RFC 8446, D.4), as it does to browsers.
        b"\x03\x03" + os.urandom(32) + b"\x20" + os.urandom(32)
        + struct.pack(f"!H{len(suites)}H", 2 * len(suites), *suites) + b"\x01\x00"
        + struct.pack("!H", len(extensions)) + extensions
    )  # fmt: skip
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(handshake)) + handshake
