"""Creates and renews the API's self-signed TLS certificate, which is used unless the operator sets another one.

With a domain it is used until an authority has issued one (`vpnkeys/acme/`), in files of its own.
"""

import datetime as dt
import logging
import socket
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vpnkeys.files import write_atomically

_log = logging.getLogger(__name__)

_VALID_DAYS = 3650
"""Ten years: clients trust its fingerprint, not a chain, and every renewal changes that."""
_RENEWED_BEFORE_DAYS = 30


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """The paths of a certificate (PEM, with its chain) and its key (PEM).

    `own_address` is the server's address in links for a certificate that vpnkeys made itself; None for any other.
    """

    cert: Path
    key: Path
    own_address: str | None = None

    def fingerprint(self) -> str:
        """Return the certificate's SHA-256 in upper-case hex with colons, as browsers show it."""
        certificate = x509.load_pem_x509_certificate(self.cert.read_bytes())
        return certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    def is_self_signed(self) -> bool:
        """Return whether nobody else vouches for the certificate; False when it cannot be read."""
        try:
            certificate = x509.load_pem_x509_certificate(self.cert.read_bytes())
        except (OSError, ValueError):
            return False
        return certificate.issuer == certificate.subject


def own_files(data_dir: Path, server_address: str) -> CertificateFiles:
    """Return the paths of the self-signed certificate."""
    return CertificateFiles(data_dir / "tls" / "cert.pem", data_dir / "tls" / "key.pem", server_address)


def issued_files(data_dir: Path) -> CertificateFiles:
    """Return the paths of the certificate that an authority issues."""
    return CertificateFiles(data_dir / "acme" / "cert.pem", data_dir / "acme" / "key.pem")


def load_issued(data_dir: Path, server_address: str) -> CertificateFiles:
    """Return the certificate that an authority issued; until it has, a copy of the self-signed one.

    Its key stays, so that a renewal replaces one file, and no crash leaves a certificate without its key.
    """
    own, files = load_certificate(data_dir, server_address), issued_files(data_dir)
    files.cert.parent.mkdir(mode=0o700, exist_ok=True)
    if not _is_pair(files):
        write_atomically(files.key, own.key.read_bytes())
        write_atomically(files.cert, own.cert.read_bytes())
    return files


def refuses_start(files: CertificateFiles) -> bool:
    """Return whether the next start is refused because of these files; our own are made again when they are missing."""
    is_remade = files.own_address is not None and not (files.cert.exists() and files.key.exists())
    return not is_remade and not _is_pair(files)


def _is_pair(files: CertificateFiles) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(files.cert.read_bytes())
        pem = files.key.read_bytes()
        key = serialization.load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
    except (OSError, TypeError, ValueError):  # TypeError: it has a password
        return False
    return certificate.public_key() == key.public_key()


def load_certificate(data_dir: Path, server_address: str) -> CertificateFiles:
    """Return the self-signed certificate for this host's names and `server_address`; the first call creates it."""
    files = own_files(data_dir, server_address)
    files.cert.parent.mkdir(mode=0o700, exist_ok=True)
    if not (files.cert.exists() and files.key.exists()):
        _make(files, sorted({server_address, *host_names()}), ec.generate_private_key(ec.SECP256R1()))
    try:
        renew(files)
    except OSError as error:  # a full or read-only disk: the one that is there serves
        _log.error("the API's self-signed certificate cannot be renewed: %s", error)
    return files


def renew(files: CertificateFiles) -> None:
    """Renew our own certificate, with the same key, when it ends within 30 days or is not valid yet. Raises OSError.

    A certificate that is not valid yet was made while the clock was ahead. The one before it, which clients may pin, is
    used again if it is good. An operator's certificate is never changed; neither is one that cannot be parsed: serving
    it reports the error.
    """
    try:
        current = x509.load_pem_x509_certificate(files.cert.read_bytes())
        key = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
    except ValueError:
        return
    now = dt.datetime.now(dt.UTC)
    if files.own_address is None or _is_good(current, now) or not isinstance(key, ec.EllipticCurvePrivateKey):
        return
    if current.not_valid_before_utc > now and _take_back(files, key, now):
        _log.warning(
            "the API's self-signed certificate was made while the clock was ahead; the one before it is used again, "
            "its SHA-256: %s",
            files.fingerprint(),
        )
        return
    write_atomically(_before(files), files.cert.read_bytes())
    _make(files, sorted({files.own_address, *host_names()}), key)
    _log.warning(
        "the API's self-signed certificate was renewed; clients that pin it need its new SHA-256: %s",
        files.fingerprint(),
    )


def _is_good(certificate: x509.Certificate, now: dt.datetime) -> bool:
    """Return whether it is valid now and for the next 30 days."""
    ends_at = now + dt.timedelta(days=_RENEWED_BEFORE_DAYS)
    return certificate.not_valid_before_utc <= now and ends_at <= certificate.not_valid_after_utc


def _before(files: CertificateFiles) -> Path:
    """Return the path of the certificate before the last renewal."""
    return files.cert.with_name("cert.before.pem")


def _take_back(files: CertificateFiles, key: ec.EllipticCurvePrivateKey, now: dt.datetime) -> bool:
    """Use the certificate before the last renewal again; return whether there is one that is good for this key."""
    try:
        content = _before(files).read_bytes()
        certificate = x509.load_pem_x509_certificate(content)
    except (OSError, ValueError):
        return False
    if certificate.public_key() != key.public_key() or not _is_good(certificate, now):
        return False
    write_atomically(files.cert, content)
    return True


def host_names() -> set[str]:
    """Return every name and IP address of this host."""
    return {"localhost", socket.gethostname(), *_ipv4_addresses(), *_ipv6_addresses()}


def _ipv4_addresses() -> set[str]:
    """Return the local addresses of the kernel's routing table: "|-- ADDRESS" followed by "/32 host LOCAL"."""
    lines = _lines(Path("/proc/net/fib_trie"))
    return {
        line.split()[-1] for line, after in pairwise(lines) if "|--" in line and after.strip() == "/32 host LOCAL"
    } | {"127.0.0.1"}


def _ipv6_addresses() -> set[str]:
    """Return the addresses in /proc/net/if_inet6, where each line begins with 32 hex digits."""
    # Without link-local ones, which need a scope that a certificate cannot contain.
    addresses = (IPv6Address(bytes.fromhex(line.split()[0])) for line in _lines(Path("/proc/net/if_inet6")))
    return {str(address) for address in addresses if not address.is_link_local} | {"::1"}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []  # no such protocol on this host


def _make(files: CertificateFiles, names: list[str], key: ec.EllipticCurvePrivateKey) -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vpnkeys")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A day back, for clients whose clock is slow.
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        # No authority: who adds it to a browser trusts this server, and not every site that its key could sign for.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    # The key first: after a crash between the two writes `load_certificate` creates both again.
    write_atomically(
        files.key,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    write_atomically(files.cert, certificate.public_bytes(serialization.Encoding.PEM))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
