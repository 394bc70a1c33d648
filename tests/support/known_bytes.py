"""Bytes both ends can make by themselves from a seed, fast enough not to be what is measured."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

CHUNK_BYTES = 64 * 1024


def known_chunks(total: int, seed: int, direction: str) -> Iterator[bytes]:
    """So many pseudo-random bytes, in chunks; the two directions of one seed differ."""
    key = hashlib.sha256(f"{direction}:{seed}".encode()).digest()
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    zeros = bytes(CHUNK_BYTES)
    while total > 0:
        size = min(total, CHUNK_BYTES)
        yield stream.update(zeros[:size])
        total -= size


def send_known(sock: socket.socket, total: int, seed: int, direction: str, rate: float | None = None) -> str:
    """Send the known bytes, no faster than `rate` bytes a second; their sha256."""
    digest = hashlib.sha256()
    started = time.monotonic()
    sent = 0
    for chunk in known_chunks(total, seed, direction):
        digest.update(chunk)
        # Small pieces keep a slow stream steady instead of one burst a second.
        step = len(chunk) if rate is None else max(1, min(len(chunk), int(rate / 20)))
        for start in range(0, len(chunk), step):
            piece = chunk[start : start + step]
            sock.sendall(piece)
            sent += len(piece)
            if rate is not None:
                time.sleep(max(0.0, started + sent / rate - time.monotonic()))
    return digest.hexdigest()


def receive_hashed(sock: socket.socket, total: int) -> tuple[int, str]:
    """(count, sha256) of the bytes that came; fewer than `total` when the peer ended early."""
    digest = hashlib.sha256()
    received = 0
    while received < total:
        data = sock.recv(min(CHUNK_BYTES, total - received))
        if not data:
            break
        digest.update(data)
        received += len(data)
    return received, digest.hexdigest()


def receive_line(sock: socket.socket) -> bytes:
    """One line without its end; byte by byte, so that nothing behind it is swallowed."""
    line = b""
    while not line.endswith(b"\n"):
        part = sock.recv(1)
        if not part:
            return b""
        line += part
    return line[:-1]
