"""Has the API's certificate issued, and renews it before it expires; until a new one is good the old one stays."""

import logging
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from vpnkeys.acme.answers import Answers, general_name
from vpnkeys.acme.errors import IssuanceFailed
from vpnkeys.domain.reached import is_ip
from vpnkeys.files import CaUnfit, in_memory, load_ca, write_atomically
from vpnkeys.interfaces import Clock
from vpnkeys.worker import Job, Worker

if TYPE_CHECKING:
    from vpnkeys.acme.authority import Authority

_log = logging.getLogger(__name__)

_HOUR_S = 3600.0
_LOOK_EVERY_S = 6 * _HOUR_S
"""How often the authority is asked when to renew (RFC 9773, 4.3.3)."""
_SHORT_LIVED = "shortlived"
"""The profile for addresses, whose certificates are valid for six days: Let's Encrypt has no others for them."""
_JITTER = 0.1

# Let's Encrypt allows five failed checks of a name within an hour.
_JOB = Job(
    name="certificate-renewal",
    failing="no new certificate could be had",
    every_s=_LOOK_EVERY_S,
    back_off_s=(120.0, 600.0, 1800.0, _HOUR_S, 3 * _HOUR_S, _LOOK_EVERY_S),
    late_after_s=2 * _LOOK_EVERY_S,
    expected=(IssuanceFailed, OSError),
    stop_within_s=0.5,  # an order that is left hanging harms nothing
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a certificate is for, and its files, which exist: at first a self-signed certificate of the same key."""

    name: str
    cert: Path
    key: Path
    account: Path
    directory: str
    ca_file: Path | None


@dataclass(slots=True)
class CertificateRenewal:
    """Renews the certificate of one subject in the background. `fault` says why the last try failed, or is empty."""

    subject: Subject
    answers: Answers
    clock: Clock
    waiting_random: Callable[[], float] = random.random
    fault: str = field(default="", init=False)
    worker: Worker = field(init=False)
    _unwritten: bytes | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Make the worker."""
        self.worker = Worker(_JOB, self.step)

    def step(self) -> float:
        """Renew the certificate if it is due; return the seconds until the next look. Raises IssuanceFailed, OSError.

        When the new certificate cannot be written, the next step writes the same one, as authorities issue only a few
        for one name.
        """
        try:
            wait_s = self._step()
        except IssuanceFailed as error:
            self.fault = error.reason
            raise
        except OSError:
            self.fault = "a file of the present certificate cannot be read"
            raise
        self.fault = ""
        return wait_s

    def _step(self) -> float:
        authority = self._authority()
        if self._unwritten is None:
            left_s = (self._due_at(authority) - self.clock.now()).total_seconds()
            if left_s > 0:
                return min(left_s, _LOOK_EVERY_S)
            self._unwritten = self._order(authority)
        _write(self.subject.cert, self._unwritten)
        until = x509.load_pem_x509_certificate(self._unwritten).not_valid_after_utc
        self._unwritten = None
        _log.info("the certificate for %s was issued; it is valid until %s", self.subject.name, f"{until:%Y-%m-%d}")
        return 60.0  # then the authority says when it wants to see us again

    def _order(self, authority: "Authority") -> bytes:
        """Return a new certificate that was checked: it is for our key and name, and valid now."""
        # Refused on a full or read-only disk, before one of the few certificates is used up.
        _write(self.subject.cert, self.subject.cert.read_bytes())
        key = _load_key(self.subject.key)
        profile = _SHORT_LIVED if is_ip(self.subject.name) else ""
        issued = authority.issue(_request_for(self.subject.name, key), profile, self.answers)
        self._check(issued)
        return issued

    def _check(self, issued: bytes) -> None:
        problem = ""
        try:
            leaf = x509.load_pem_x509_certificate(issued)
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            with in_memory(issued) as cert:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, self.subject.key)
            if general_name(self.subject.name) not in names:
                problem = f"it is not for {self.subject.name}"
            elif leaf.not_valid_after_utc.replace(tzinfo=None) <= self.clock.now():
                problem = "it has expired; check this host's clock"
        except (OSError, ValueError, x509.ExtensionNotFound) as error:
            problem = str(error)
        if problem:
            raise IssuanceFailed(
                f"the authority issued a certificate that cannot be used: {problem}", "the new certificate is unusable"
            )

    def _due_at(self, authority: "Authority") -> datetime:
        """Return when to renew: now for a self-signed certificate or one of another name, else as the authority asks.

        Where it does not say, a third of the lifetime before the end, and up to a tenth of it earlier by chance.
        """
        raw = self.subject.cert.read_bytes()
        present = x509.load_pem_x509_certificate(raw)
        begin, end = (at.replace(tzinfo=None) for at in (present.not_valid_before_utc, present.not_valid_after_utc))
        if present.issuer == present.subject or not _is_for(present, self.subject.name):
            return self.clock.now()
        lifetime = end - begin
        own = end - lifetime / 3 - lifetime * _JITTER * self.waiting_random()
        try:
            wanted = authority.renewal_time(raw)
        except IssuanceFailed as error:
            _log.debug("the authority does not say when to renew: %s", error)
            wanted = None
        return own if wanted is None else min(wanted, end - lifetime / 10)

    def _authority(self) -> "Authority":
        # Here, because the library takes half a second to import and 20 MB, for servers with a domain only.
        from vpnkeys.acme.authority import Authority  # noqa: PLC0415

        ca_file = self.subject.ca_file
        if ca_file is not None:
            # The library would name neither the file nor the setting.
            try:
                load_ca(ca_file)
            except CaUnfit as error:
                reason = "the file of VPNKEYS_ACME_CA_FILE cannot be used"
                raise IssuanceFailed(f"VPNKEYS_ACME_CA_FILE: {error}", reason) from error
        account = _load_or_make_account(self.subject.account)
        return Authority(self.subject.directory, None if ca_file is None else str(ca_file), account)


def _is_for(certificate: x509.Certificate, name: str) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return general_name(name) in names


def _request_for(name: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a request (PKCS #10) for a certificate of this name and key, in PEM."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = request.add_extension(x509.SubjectAlternativeName([general_name(name)]), critical=True)
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return an EC key of a PEM file. Raises OSError; ValueError becomes IssuanceFailed."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise IssuanceFailed(f"{path} is damaged: {error}", "a key file is damaged") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise IssuanceFailed(f"{path} is not an EC key", "a key file is damaged")
    return key


def _load_or_make_account(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key of our account at the authority; the first call makes it."""
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(path, pem)
    return _load_key(path)


def _write(path: Path, content: bytes) -> None:
    """Replace a file of the certificate. Raises IssuanceFailed."""
    try:
        write_atomically(path, content)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}"
        raise IssuanceFailed(msg, "the new certificate cannot be written") from error
