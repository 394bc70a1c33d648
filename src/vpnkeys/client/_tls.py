"""Whom to trust: one certificate by its fingerprint, a PEM file, or the system's authorities."""

import hashlib
import re
import ssl
from pathlib import Path

_HEX_DIGITS = 64


def context_for(*, verify: ssl.SSLContext | Path | str | bool, fingerprint: str | None) -> ssl.SSLContext:
    """Return a context that checks the server's certificate so.

    Raises ValueError, or OSError when the PEM file cannot be read.
    """
    if fingerprint is not None:
        if verify is not True:
            msg = "give either a fingerprint or `verify`: with a fingerprint nothing else is looked at"
            raise ValueError(msg)
        return _Pinned.to(fingerprint)
    if isinstance(verify, ssl.SSLContext):
        return verify
    if verify is False:
        msg = "an unchecked certificate gives the API key to anybody on the way; give the server's fingerprint"
        raise ValueError(msg)
    return ssl.create_default_context(cafile=None if verify is True else str(verify))


class _Pinned(ssl.SSLContext):
    """Takes the one certificate that has this SHA-256, whatever its names, dates and issuer are.

    The handshake itself proves that the other side holds the certificate's key. Comparing is part of the handshake
    here, and not of what follows: nothing, least of all the API key, is sent to a stranger.
    """

    pin: bytes

    @classmethod
    def to(cls, fingerprint: str) -> "_Pinned":
        """Return a context for this fingerprint."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.pin = parse_fingerprint(fingerprint)
        context.sslsocket_class = _PinnedSocket
        context.sslobject_class = _PinnedObject
        return context


class _PinnedSocket(ssl.SSLSocket):
    """What `wrap_socket` makes."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the base class's signature
        """Shake hands, then compare."""
        super().do_handshake(block)
        _compare(self.context, self.getpeercert(binary_form=True))


class _PinnedObject(ssl.SSLObject):
    """What `wrap_bio` makes: TLS inside a proxy's TLS."""

    def do_handshake(self) -> None:
        """Shake hands, then compare."""
        super().do_handshake()
        _compare(self.context, self.getpeercert(binary_form=True))


def _compare(context: ssl.SSLContext, certificate: bytes | None) -> None:
    found = hashlib.sha256(certificate or b"").digest()
    if not isinstance(context, _Pinned) or found != context.pin:
        msg = f"the server's certificate has the SHA-256 fingerprint {found.hex(':').upper()}, not the one expected"
        raise ssl.SSLCertVerificationError(
            ssl.SSLErrorNumber.SSL_ERROR_SSL, msg
        )  # with one argument, it prints a tuple


def parse_fingerprint(text: str) -> bytes:
    """Return the bytes of a SHA-256 in hex, with or without colons, in either case. Raises ValueError."""
    digits = re.sub(r"^sha-?256[:=]|[:\s]", "", text.strip(), flags=re.IGNORECASE)
    if len(digits) != _HEX_DIGITS or re.fullmatch(r"[0-9a-fA-F]+", digits) is None:
        msg = "a fingerprint is the SHA-256 of the certificate: 64 hex digits, with or without colons"
        raise ValueError(msg)
    return bytes.fromhex(digits)
