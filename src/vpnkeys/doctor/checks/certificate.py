"""The check of the API's TLS certificate."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from vpnkeys.doctor.finding import Verdict, fail, ok, warn
from vpnkeys.doctor.installation import Installation
from vpnkeys.domain.reached.validity import Validity, validity
from vpnkeys.ops.data_dir import certificate_files
from vpnkeys.xray.probe.targets import covers


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """A certificate and its key. `problem` says why they cannot be read; `is_ours` that the server gets them itself.

    `server_address` is what clients of the API connect to. `is_awaited`: an authority has not issued one yet.
    """

    cert: Path
    key: Path
    is_ours: bool
    server_address: str
    restart: str
    now: datetime
    problem: str = ""
    fits_key: bool = False
    not_before: datetime | None = None
    not_after: datetime | None = None
    covers_address: bool = False
    is_awaited: bool = False

    @property
    def renewal(self) -> str:
        """The command that renews it. The server renews what it gets itself at a start; a replaced one it loads."""
        return self.restart if self.is_ours else "certbot renew"

    @property
    def validity(self) -> Validity | None:
        """Whether it is valid now; None when it cannot be read."""
        if self.not_before is None or self.not_after is None:
            return None
        left, lifetime = self.not_after - self.now, self.not_after - self.not_before
        return validity(left.total_seconds(), lifetime.total_seconds())

    @property
    def replacement(self) -> str:
        """The command that replaces it. The server makes a new one of its own at a start when there is none."""
        return (
            f"rm -f {shlex.join([str(self.cert), str(self.key)])} && {self.restart}" if self.is_ours else self.renewal
        )


def look(installation: Installation) -> CertificateFacts:
    """Return the facts from the files that the server reads."""
    settings = installation.settings
    files = certificate_files(settings)
    cert, key, is_ours, name = (
        files.cert,
        files.key,
        settings.tls_cert is None,
        settings.domain or settings.server_address,
    )
    now = datetime.now(UTC)
    try:
        certificate = x509.load_pem_x509_certificate(cert.read_bytes())
        public = load_pem_private_key(key.read_bytes(), None).public_key()
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        return CertificateFacts(cert, key, is_ours, name, installation.restart, now, problem=str(error))
    shape = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return CertificateFacts(
        cert=cert,
        key=key,
        is_ours=is_ours,
        server_address=name,
        restart=installation.restart,
        now=now,
        fits_key=certificate.public_key().public_bytes(*shape) == public.public_bytes(*shape),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        covers_address=_covers(certificate, name),
        is_awaited=bool(settings.domain) and certificate.issuer == certificate.subject,
    )


def judge(facts: CertificateFacts) -> Iterable[Verdict]:
    """Report the first problem only: the later ones often follow from it."""
    if facts.problem:
        yield fail(f"{facts.cert} and {facts.key} cannot be read: {facts.problem}", facts.replacement)
    elif not facts.fits_key:
        yield fail(f"{facts.key} is not the key of {facts.cert}", facts.replacement)
    elif facts.validity is Validity.EXPIRED:
        yield fail(f"{facts.cert} expired on {facts.not_after:%Y-%m-%d}", facts.renewal)
    elif facts.validity is Validity.NOT_YET:
        yield fail(f"{facts.cert} is not valid before {facts.not_before:%Y-%m-%d}; check the clock", facts.renewal)
    elif facts.validity is Validity.EXPIRING:
        yield warn(f"{facts.cert} expires on {facts.not_after:%Y-%m-%d}", facts.renewal)
    elif facts.is_awaited:
        yield warn(f"no authority has issued a certificate for {facts.server_address} yet", facts.renewal)
    elif not facts.covers_address:
        yield warn(f"{facts.cert} is not for {facts.server_address}, which clients may connect to", facts.replacement)
    else:
        yield ok(f"the certificate is for {facts.server_address} and valid until {facts.not_after:%Y-%m-%d}")


def _covers(certificate: x509.Certificate, address: str) -> bool:
    # Clients compare an IP address only with the certificate's IP addresses, a name only with its DNS names (RFC 9525).
    try:
        wanted = ip_address(address)
    except ValueError:
        return covers(certificate, address.lower())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return wanted in names.get_values_for_type(x509.IPAddress)
