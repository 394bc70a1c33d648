"""The handshake of an old client with a REALITY server, to find out whether it lets such a client in.

Xray's own client shows only whether clients like itself get in. sing-box and mihomo say an older version of themselves
(1.8.1 and 1.8.2) and send the key share of X25519 alone, without X25519MLKEM768. Newer servers refuse one or the other,
and show such a client the target's real certificate instead. This handshake has both, and ends at the certificate.

REALITY (`tls.go` of xtls/reality): the session id hides version, time and short id, sealed with a key that only the
server can find too; the certificate of a server that accepts is signed with the same key.
"""

import hmac
import socket
import struct
import time
from collections.abc import Iterator
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from vpnkeys.domain.reality import decode_key
from vpnkeys.xray.probe.client import Way
from vpnkeys.xray.probe.flight import (
    AES_128_GCM_SHA256,
    X25519,
    FlightUnfit,
    client_hello,
    is_server_hello,
    records,
)

_VERSION = bytes((1, 8, 1, 0))
"""The oldest that clients in use say: that of sing-box."""

_HEADER_BYTES = 5
_RANDOM = slice(6, 38)
_SESSION_ID = slice(39, 71)
_HASH_BYTES, _KEY_BYTES, _NONCE_BYTES = 32, 16, 12
_CERTIFICATE, _MESSAGE_HEADER_BYTES = 11, 4
_APPLICATION_DATA = 23
_SHARE_EXTENSION = struct.pack("!HHHH", 51, 36, X25519, 32)
_ED25519_KEY = bytes.fromhex("302a300506032b6570032100")
"""What comes before an Ed25519 key in a certificate (RFC 8410)."""
_SIGNATURE_BYTES = 64


def lets_in_old_client(way: Way, timeout_s: float) -> bool:
    """Return whether the server at a loopback port accepts the handshake of an old client. Raises OSError."""
    own = X25519PrivateKey.generate()
    record = client_hello(way.server_name, X25519, own.public_key().public_bytes_raw(), (AES_128_GCM_SHA256,))
    shared = own.exchange(X25519PublicKey.from_public_bytes(decode_key(way.public_key)))
    hello, secret = _sealed(record[_HEADER_BYTES:], shared, bytes.fromhex(way.short_id))
    with socket.create_connection(("127.0.0.1", way.port), timeout=timeout_s) as server:
        server.sendall(record[:_HEADER_BYTES] + hello)
        answer = records(server, time.monotonic() + timeout_s)
        try:
            kind, body = next(answer)
            if not is_server_hello(kind, body):
                return False
            certificate = _certificate(answer, _traffic_secret(own, hello, body))
        except (FlightUnfit, InvalidTag, ValueError):
            return False
    at = certificate.find(_ED25519_KEY) + len(_ED25519_KEY)
    signed = hmac.digest(secret, certificate[at : at + 32], "sha512")
    return hmac.compare_digest(signed, certificate[-_SIGNATURE_BYTES:])


def _sealed(hello: bytes, shared: bytes, short_id: bytes) -> tuple[bytes, bytes]:
    """Return a ClientHello with what REALITY's server looks for in its session id, and the key that seals it."""
    random = hello[_RANDOM]
    secret = HKDF(SHA256(), _HASH_BYTES, salt=random[:20], info=b"REALITY").derive(shared)
    said = _VERSION + struct.pack("!I", int(time.time())) + short_id.ljust(8, b"\0")
    bare = hello[: _SESSION_ID.start] + bytes(32) + hello[_SESSION_ID.stop :]
    session_id = AESGCM(secret).encrypt(random[20:], said, bare)
    return hello[: _SESSION_ID.start] + session_id + hello[_SESSION_ID.stop :], secret


def _traffic_secret(own: X25519PrivateKey, hello: bytes, server_hello: bytes) -> bytes:
    """Return the secret of the server's part of a handshake (RFC 8446, 7.1)."""
    at = server_hello.index(_SHARE_EXTENSION) + len(_SHARE_EXTENSION)
    shared = own.exchange(X25519PublicKey.from_public_bytes(server_hello[at : at + 32]))
    early = hmac.digest(bytes(_HASH_BYTES), bytes(_HASH_BYTES), "sha256")
    salt = _expand(early, "derived", sha256(b"").digest(), _HASH_BYTES)
    handshake = hmac.digest(salt, shared, "sha256")
    return _expand(handshake, "s hs traffic", sha256(hello + server_hello).digest(), _HASH_BYTES)


def _expand(secret: bytes, label: str, context: bytes, size: int) -> bytes:
    """Return HKDF-Expand-Label (RFC 8446, 7.1)."""
    name = b"tls13 " + label.encode("ascii")
    info = struct.pack("!HB", size, len(name)) + name + bytes([len(context)]) + context
    return HKDFExpand(SHA256(), size, info).derive(secret)


def _certificate(answer: Iterator[tuple[int, bytes]], secret: bytes) -> bytes:
    """Return the server's first certificate (RFC 8446, 4.4.2). Raises InvalidTag, OSError and FlightUnfit."""
    key = AESGCM(_expand(secret, "key", b"", _KEY_BYTES))
    nonce = int.from_bytes(_expand(secret, "iv", b"", _NONCE_BYTES), "big")
    sealed = (body for kind, body in answer if kind == _APPLICATION_DATA)
    messages = b""
    for number, body in enumerate(sealed):
        head = struct.pack("!BHH", _APPLICATION_DATA, 0x0303, len(body))
        opened = key.decrypt((nonce ^ number).to_bytes(_NONCE_BYTES, "big"), body, head)
        messages += opened.rstrip(b"\0")[:-1]  # after the content, its type and any number of zeros (RFC 8446, 5.4)
        while len(messages) >= (size := _MESSAGE_HEADER_BYTES + int.from_bytes(messages[1:4], "big")):
            message, messages = messages[:size], messages[size:]
            if message[0] == _CERTIFICATE:
                # An empty context (1 byte), the length of all (3), the length of the first (3).
                at = _MESSAGE_HEADER_BYTES + 7
                return message[at : at + int.from_bytes(message[at - 3 : at], "big")]
    raise FlightUnfit("sends no certificate")
