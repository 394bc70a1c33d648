"""The API's own certificate: for every name of this host, made once, good for a real client."""

import datetime as dt
import socket
import ssl
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from vpnkeys.store.files import certificate
from vpnkeys.store.files.certificate import CertificateFiles, host_names, load_certificate, refuses_start, renew


def test_it_names_this_host(tmp_path: Path) -> None:
    """Loopback of both kinds, the host's name, and the address in links, be it a name or an address."""
    for address in ("vpn.example.com", "203.0.113.7", "2001:db8::1"):
        directory = tmp_path / address.replace(":", "-")
        directory.mkdir()
        found = x509.load_pem_x509_certificate(load_certificate(directory, address).cert.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        told = {str(name.value) for name in names}
        assert {address, "127.0.0.1", "localhost", socket.gethostname()} <= told
        assert host_names() <= told


def test_it_is_made_once(tmp_path: Path) -> None:
    """Whoever has noted its fingerprint finds it again; its key is for its owner alone."""
    first = load_certificate(tmp_path, "203.0.113.7")
    content, fingerprint = first.cert.read_bytes(), first.fingerprint()
    again = load_certificate(tmp_path, "203.0.113.7")
    assert (again.cert.read_bytes(), again.fingerprint()) == (content, fingerprint)
    assert stat.S_IMODE(first.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.key.parent.stat().st_mode) == 0o700


def test_the_fingerprint_is_what_clients_show(tmp_path: Path) -> None:
    """SHA-256 of the certificate in colon-separated hex."""
    files = load_certificate(tmp_path, "203.0.113.7")
    found = x509.load_pem_x509_certificate(files.cert.read_bytes())
    assert files.fingerprint().count(":") == 31
    assert files.fingerprint() == files.fingerprint().upper()
    assert isinstance(found.public_key(), ec.EllipticCurvePublicKey)
    assert found.not_valid_after_utc > dt.datetime.now(dt.UTC) + dt.timedelta(days=3000)


@pytest.mark.parametrize("flags", [ssl.VerifyFlags(0), ssl.VERIFY_X509_STRICT, ssl.VERIFY_X509_PARTIAL_CHAIN])
def test_a_client_that_trusts_it_gets_in(tmp_path: Path, flags: ssl.VerifyFlags) -> None:
    """Python's own TLS, with the certificate as its only authority and the name checked, as strictly as it can."""
    files = load_certificate(tmp_path, "vpn.example.com")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.cert, files.key)
    client = ssl.create_default_context(cafile=str(files.cert))
    client.verify_flags |= flags
    for name in ("vpn.example.com", "127.0.0.1", "localhost"):
        assert handshake(server, client, name)


def test_it_is_no_authority(tmp_path: Path) -> None:
    """Who trusts it trusts this server: what its key signs for other sites is refused."""
    files = load_certificate(tmp_path, "vpn.example.com")
    own, key = _load(files)
    assert not own.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    other_key = ec.generate_private_key(ec.SECP256R1())
    forged = _copied(own, other_key.public_key()).issuer_name(own.subject)
    forged = forged.add_extension(x509.SubjectAlternativeName([x509.DNSName("bank.example")]), critical=False)
    chain = tmp_path / "chain.pem"
    pem = serialization.Encoding.PEM
    chain.write_bytes(forged.sign(key, hashes.SHA256()).public_bytes(pem) + files.cert.read_bytes())
    other = tmp_path / "other.pem"
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    other.write_bytes(other_key.private_bytes(pem, form, none))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain, other)
    client = ssl.create_default_context(cafile=str(files.cert))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, "bank.example")


def test_one_that_was_made_as_an_authority_stays(tmp_path: Path) -> None:
    """Clients pin it."""
    files = load_certificate(tmp_path, "vpn.example.com")
    own, key = _load(files)
    old = _copied(own, key.public_key()).issuer_name(own.subject)
    old = old.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    files.cert.write_bytes(old.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    before = files.cert.read_bytes()
    assert load_certificate(tmp_path, "vpn.example.com").cert.read_bytes() == before


def test_only_a_certificate_that_nobody_vouches_for_is_self_signed(tmp_path: Path) -> None:
    """Ours is; one that an authority issued is not, nor what cannot be read."""
    files = load_certificate(tmp_path, "vpn.example.com")
    assert files.is_self_signed()
    own, key = _load(files)
    authority = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Authority")])
    issued = _copied(own, key.public_key()).issuer_name(authority).sign(key, hashes.SHA256())
    files.cert.write_bytes(issued.public_bytes(serialization.Encoding.PEM))
    assert not files.is_self_signed()
    files.cert.unlink()
    assert not files.is_self_signed()


def _load(files: CertificateFiles) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return x509.load_pem_x509_certificate(files.cert.read_bytes()), key


def _copied(own: x509.Certificate, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    """A certificate of the same time for a key, without an issuer and extensions."""
    return (
        x509.CertificateBuilder()
        .subject_name(own.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(own.not_valid_before_utc)
        .not_valid_after(own.not_valid_after_utc)
    )


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bool:
    """Whether both sides finish, all in memory. Raises SSLError when one does not like the other."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    customer = client.wrap_bio(down, up, server_hostname=name)
    host = server.wrap_bio(up, down, server_side=True)
    open_sides = [customer, host]
    for _ in range(10):
        for side in list(open_sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            open_sides.remove(side)
    return not open_sides


def _ends_at(files: CertificateFiles) -> dt.datetime:
    return x509.load_pem_x509_certificate(files.cert.read_bytes()).not_valid_after_utc


@pytest.mark.parametrize(("days_left", "is_renewed"), [(-1, True), (29, True), (31, False)])
def test_our_own_is_made_anew_in_its_last_month(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days_left: int, is_renewed: bool
) -> None:
    """For the same key, so that who pinned that still gets in; not before, and nobody else's."""
    monkeypatch.setattr(certificate, "_VALID_DAYS", days_left)
    files = load_certificate(tmp_path, "192.0.2.1")
    old, key = files.cert.read_bytes(), files.key.read_bytes()
    monkeypatch.setattr(certificate, "_VALID_DAYS", 3650)
    renew(replace(files, own_address=None))
    assert files.cert.read_bytes() == old
    renew(files)
    assert (files.cert.read_bytes() != old, files.key.read_bytes()) == (is_renewed, key)
    assert (_ends_at(files) - dt.datetime.now(dt.UTC)).days > (3000 if is_renewed else 0)


class _Ahead(dt.datetime):
    """A clock that is ten years ahead."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> "_Ahead":
        """Return that time."""
        return cls.fromtimestamp(time.time() + 3650 * 86_400, tz)


def test_a_start_with_a_clock_far_ahead_costs_nobody_the_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate that clients pin is kept aside, and used again at the first start with the right clock."""
    pinned = load_certificate(tmp_path, "192.0.2.1").fingerprint()
    with monkeypatch.context() as patch:
        patch.setattr(dt, "datetime", _Ahead)
        assert load_certificate(tmp_path, "192.0.2.1").fingerprint() != pinned
    assert load_certificate(tmp_path, "192.0.2.1").fingerprint() == pinned
    assert load_certificate(tmp_path, "192.0.2.1").fingerprint() == pinned


@pytest.mark.parametrize("before", [None, b"nothing", "of another key"])
def test_a_certificate_from_the_future_that_replaced_none_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bytes | str | None
) -> None:
    """With the same key; what lies where the one before it would be is used only if it belongs to that key."""
    with monkeypatch.context() as patch:
        patch.setattr(dt, "datetime", _Ahead)
        files = load_certificate(tmp_path, "192.0.2.1")
    future, key = files.cert.read_bytes(), files.key.read_bytes()
    if before == "of another key":
        other = tmp_path / "other"
        other.mkdir()
        before = load_certificate(other, "192.0.2.1").cert.read_bytes()
    if isinstance(before, bytes):
        (files.cert.parent / "cert.before.pem").write_bytes(before)
    renew(files)
    assert files.cert.read_bytes() not in {future, before}
    assert files.key.read_bytes() == key
    found = x509.load_pem_x509_certificate(files.cert.read_bytes())
    assert found.not_valid_before_utc < dt.datetime.now(dt.UTC) < found.not_valid_after_utc


def test_what_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    """Whoever serves it says what is wrong with it."""
    files = load_certificate(tmp_path, "192.0.2.1")
    files.cert.write_text("nothing")
    renew(files)
    assert files.cert.read_text() == "nothing"


def test_files_that_refuse_the_next_start(tmp_path: Path) -> None:
    """Garbage, and the certificate of another key; our own that are missing are made again, an operator's are not."""
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
    own, other = (load_certificate(tmp_path / name, "192.0.2.1") for name in ("own", "other"))
    given = CertificateFiles(own.cert, own.key)
    assert not refuses_start(own)
    own.cert.write_bytes(other.cert.read_bytes())
    assert refuses_start(own)
    own.cert.write_text("x")
    assert refuses_start(own)
    own.cert.unlink()
    assert (refuses_start(own), refuses_start(given)) == (False, True)
