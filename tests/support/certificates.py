"""Certificates made at run time: an authority of our own and what it signs (EC P-256)."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = dt.timedelta(days=30)
_PADDING = x509.ObjectIdentifier("1.3.6.1.4.1.55555.1")
# Clocks of machines differ: a certificate that starts this moment may be refused by the next one.
_BACKDATED = dt.timedelta(hours=1)


def _common_name(text: str) -> x509.Name:
    """A subject with nothing but a common name (which holds 64 characters at most)."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _alternative_name(name: str) -> x509.GeneralName:
    """A subject alternative name for a host name or an address."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    """Signing certificates for the authority, signing handshakes for a server."""
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


class Authority:
    """A certificate authority whose own certificate stands in `ca_file`."""

    def __init__(self, directory: Path) -> None:
        """Make the authority's key and certificate."""
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _common_name("vpnkeys test authority")
        certificate = self._sign(self._subject, self._key.public_key(), [])
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, names: Sequence[str], der_bytes: int | None = None) -> tuple[Path, Path]:
        """(certificate chain, private key) for a server of these names, the certificate exactly so long if asked."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sized(names, key.public_key(), der_bytes)
        certificate_file = self._directory / "server.pem"
        key_file = self._directory / "server.key"
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate_file, key_file

    def _sized(self, names: Sequence[str], key: ec.EllipticCurvePublicKey, der_bytes: int | None) -> x509.Certificate:
        """A server's certificate, padded by an extension that nobody knows."""
        subject, padding = _common_name(names[0]), 0
        while True:
            certificate = self._sign(subject, key, names, bytes(padding))
            # A signature is a byte or two shorter now and then, so the length has to be hit by trying.
            missing = 0 if der_bytes is None else der_bytes - len(certificate.public_bytes(serialization.Encoding.DER))
            if not missing:
                return certificate
            padding = max(padding + missing, 0)

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, names: Sequence[str], padding: bytes = b""
    ) -> x509.Certificate:
        """A certificate signed by this authority: a server's, or its own when there are no names."""
        now = dt.datetime.now(dt.UTC)
        own_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + _LIFETIME)
            .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
            .add_extension(_key_usage(authority=not names), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(own_id, critical=False)
        )
        if names:
            alternatives = x509.SubjectAlternativeName([_alternative_name(n) for n in names])
            purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
            builder = builder.add_extension(alternatives, critical=False)
            builder = builder.add_extension(purpose, critical=False)
        if padding:
            builder = builder.add_extension(x509.UnrecognizedExtension(_PADDING, padding), critical=False)
        return builder.sign(self._key, hashes.SHA256())
