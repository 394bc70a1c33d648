"""REALITY's key pair, short ids and fingerprints, and the check of server names.

Formats are Xray-core's (`infra/conf/transport_internet.go`): X25519 keys are 32 raw bytes in base64url without padding,
a short id is 8 bytes written as at most 16 hex digits, padded with zero bytes on the right.
"""

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Self

SHORT_ID_HEX_DIGITS = 16
_SHORT_ID = re.compile(r"(?:[0-9a-f]{2}){1,8}")
# RFC 1035: 63 characters a label, 253 in all. The last label starts with a letter, or it might be an IP address.
_DNS_NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")

# uTLS has these too, but no client got in by them (measured as above).
_SHUT_OUT = frozenset({"android", "360"})


class Fingerprint(StrEnum):
    """A fingerprint names the browser whose TLS handshake a client imitates (uTLS).

    Clients get in with these (measured with Xray 26.3.27 and sing-box 1.12).
    """

    CHROME = "chrome"
    FIREFOX = "firefox"
    SAFARI = "safari"
    EDGE = "edge"
    IOS = "ios"
    RANDOM = "random"
    RANDOMIZED = "randomized"
    """Drawn anew in each run of a client. Of Xray's draws REALITY takes half, of sing-box's all (12 runs each)."""
    QQ = "qq"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 key pair in Xray's encoding. `new` and `of_private` return matching pairs; a loaded one may differ."""

    private_key: str
    public_key: str

    @classmethod
    def new(cls) -> Self:
        """Return a pair from the operating system's random source."""
        return cls.of_private(encode_key(secrets.token_bytes(32)))

    @classmethod
    def of_private(cls, private_key: str) -> Self:
        """Return the pair of a private key. Raises ValueError when that is not 32 bytes in base64url."""
        # Here, because commands that only ask a server import this module too.
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415

        public = X25519PrivateKey.from_private_bytes(decode_key(private_key)).public_key()
        return cls(private_key, encode_key(public.public_bytes_raw()))

    def __repr__(self) -> str:
        """Return the pair without its private key, which must not reach a log."""
        return f"KeyPair(public_key={self.public_key!r})"


@dataclass(frozen=True, slots=True)
class FallbackLimit:
    """What REALITY passes of one connection without a key, in one direction: `after_bytes` at any speed, then slowly.

    Without `bytes_per_s` there is no limit.
    """

    after_bytes: int = 0
    bytes_per_s: int = 0


UNLIMITED = FallbackLimit()

_MIB, _KIB = 2**20, 2**10


def fallback_limits(server_name: str, private_key: str) -> tuple[FallbackLimit, FallbackLimit]:
    """Return the limits up and down for connections without a key, the same at every start.

    A page is below them by far (docs/adr/0023-fallback.md). They differ between servers and between names, as limits
    that are the same everywhere would give every such server away.
    """
    digest = hashlib.sha256(f"fallback {server_name} {private_key}".encode()).digest()
    part = [1 + int.from_bytes(digest[at : at + 4]) / 2**32 for at in range(0, 16, 4)]
    return (
        FallbackLimit(int(part[0] * _MIB), int(part[1] * 32 * _KIB)),
        FallbackLimit(int(part[2] * 8 * _MIB), int(part[3] * 256 * _KIB)),
    )


def encode_key(raw: bytes) -> str:
    """Return 32 raw bytes as base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode_key(text: str) -> bytes:
    """Return the 32 raw bytes of a key in base64url without padding. Raises ValueError for any other text."""
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=", altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raw = b""
    # Encoded again, because Python ignores stray bits in the last character: two texts would mean one key.
    if len(raw) != 32 or encode_key(raw) != text:  # noqa: PLR2004 - X25519's key size
        msg = "a REALITY key is 32 bytes in base64url without padding (43 characters)"
        raise ValueError(msg)
    return raw


def new_short_id(chance: Random, taken: Container[str] = ()) -> str:
    """Return 16 random hex digits that are not taken."""
    while (short_id := f"{chance.getrandbits(4 * SHORT_ID_HEX_DIGITS):0{SHORT_ID_HEX_DIGITS}x}") in taken:
        pass
    return short_id


def is_short_id(text: str) -> bool:
    """Return whether Xray accepts the text as a short id: 2 to 16 lower-case hex digits, an even number of them."""
    return _SHORT_ID.fullmatch(text) is not None


def pad_short_id(text: str) -> str:
    """Return all 16 digits of a short id. Xray fills shorter ones with zeros on the right, as this does."""
    return text.ljust(SHORT_ID_HEX_DIGITS, "0")


def is_server_name(text: str) -> bool:
    """Return whether the text is a lower-case DNS name with at least one dot. Xray compares bytes."""
    return _DNS_NAME.fullmatch(text) is not None


def parse_fingerprint(text: str) -> Fingerprint:
    """Return the fingerprint of this name, in any case. Raises ValueError with a sentence for people."""
    name = text.strip().lower()
    try:
        return Fingerprint(name)
    except ValueError:
        known = ", ".join(Fingerprint)
        if name in _SHUT_OUT:
            msg = f"The fingerprint {name} does not get through REALITY: no client could connect. Give one of {known}."
        else:
            msg = f"This fingerprint is unknown; give one of {known}."
        raise ValueError(msg) from None
