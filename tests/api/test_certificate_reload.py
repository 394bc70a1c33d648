"""An operator's certificate that was replaced on disk is served without a restart."""

from __future__ import annotations

import hashlib
import logging
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tests.support.certificates import Authority
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.target import RealityTarget

from vpnkeys.server.certificates import CertificateReload


def _issue(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate and its key, by an authority of its own."""
    place = directory / name
    place.mkdir()
    return Authority(place).issue(["127.0.0.1"])


def _digest(pem: Path) -> str:
    """SHA-256 of the first certificate of a file."""
    der = ssl.PEM_cert_to_DER_cert(pem.read_text().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----")
    return hashlib.sha256(der).hexdigest()


def _connect(service: Service) -> ssl.SSLSocket:
    """A new connection; it trusts anybody."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(service.address, timeout=60))


def _served(service: Service) -> str:
    """SHA-256 of the certificate that a new connection gets."""
    with _connect(service) as connection:
        return hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()


def _ask(connection: ssl.SSLSocket) -> bytes:
    """The status line of one request on an open connection."""
    connection.sendall(b"GET /api/ HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while b"}" not in answer:
        answer += connection.recv(4096)
    return answer.split(b"\r\n", 1)[0]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Where the operator keeps certificate and key."""
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = _issue(directory, "first")
    return Path(shutil.copy(certificate, directory)), Path(shutil.copy(key, directory))


@pytest.fixture(scope="module")
def service(target: RealityTarget, pair: tuple[Path, Path]) -> Iterator[Service]:
    """A service with that certificate."""
    settings = {"VPNKEYS_TLS_CERT": str(pair[0]), "VPNKEYS_TLS_KEY": str(pair[1])}
    with Service(target, settings=settings) as service:
        yield service


@pytest.mark.e2e
class TestTheService:
    """`vpnkeys serve` with VPNKEYS_TLS_CERT and VPNKEYS_TLS_KEY."""

    def test_new_connections_get_the_new_one_and_open_ones_live_on(
        self, service: Service, pair: tuple[Path, Path], tmp_path: Path
    ) -> None:
        """Replaced as Certbot does it: new files in place of the old ones."""
        assert _served(service) == _digest(pair[0])
        certificate, key = _issue(tmp_path, "second")
        with _connect(service) as open_one:
            assert _ask(open_one) == b"HTTP/1.1 200 OK"
            # An idle connection is closed after five seconds, with or without a new certificate.
            key.replace(pair[1])
            certificate.replace(pair[0])
            wanted = _digest(pair[0])

            def renewed() -> bool:
                assert _ask(open_one) == b"HTTP/1.1 200 OK"
                return _served(service) == wanted

            assert wait_until(renewed)
            assert _ask(open_one) == b"HTTP/1.1 200 OK"
        assert "cannot be used" not in service.log()

    def test_files_that_do_not_fit_change_nothing(
        self, service: Service, pair: tuple[Path, Path], tmp_path: Path
    ) -> None:
        """The old pair stays in service, with one warning; the next good pair is taken."""
        before = _served(service)
        good = pair[1].read_bytes()
        certificate, key = _issue(tmp_path, "third")
        pair[1].write_bytes(key.read_bytes())  # a key of another certificate
        assert wait_until(lambda: "cannot be used" in service.log())
        assert _served(service) == before
        assert good.decode() not in service.log()
        pair[0].write_bytes(certificate.read_bytes())
        assert wait_until(lambda: _served(service) == _digest(certificate))
        assert service.log().count("cannot be used") == 1


def _lock(key: Path) -> None:
    """Put a password on a key."""
    unlocked = serialization.load_pem_private_key(key.read_bytes(), None)
    how = serialization.BestAvailableEncryption(b"password")
    key.write_bytes(unlocked.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))


@pytest.mark.e2e
def test_no_certificate_is_a_settings_error(target: RealityTarget, tmp_path: Path) -> None:
    """Said before Xray is started, by the names of the settings."""
    nonsense = tmp_path / "cert.pem"
    nonsense.write_text("nonsense")
    service = Service(target, settings={"VPNKEYS_TLS_CERT": str(nonsense), "VPNKEYS_TLS_KEY": str(nonsense)})
    try:
        told = service.program("serve")
    finally:
        service.close()
    assert told.returncode == 2
    assert "VPNKEYS_TLS_CERT" in told.stderr
    assert "Traceback" not in told.stderr


class _Rig:
    """A reload on files of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cert, self.key = directory / "cert.pem", directory / "key.pem"
        self.put("first")
        self._reload = CertificateReload(self.cert, self.key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.cert, self.key)

    def put(self, name: str) -> None:
        """Another pair in place of the one before."""
        certificate, key = _issue(self.directory, name)
        certificate.replace(self.cert)
        key.replace(self.key)

    def look(self) -> None:
        """What the service does every two seconds."""
        self._reload.look(self.context)

    def served(self) -> str:
        """SHA-256 of the certificate that a handshake shows."""
        client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client_context.check_hostname = False
        client_context.verify_mode = ssl.CERT_NONE
        near, far = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = self.context.wrap_bio(near, far, server_side=True)
        client = client_context.wrap_bio(far, near)
        for side in (client, server, client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
        return hashlib.sha256(client.getpeercert(binary_form=True) or b"").hexdigest()


@pytest.fixture
def rig(tmp_path: Path) -> _Rig:
    """A reload whose files have not changed yet."""
    return _Rig(tmp_path)


def test_nothing_new(rig: _Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Looking at unchanged files does nothing and says nothing."""
    before = rig.served()
    with caplog.at_level(logging.INFO):
        rig.look()
    assert (rig.served(), caplog.records) == (before, [])


def test_a_new_pair(rig: _Rig) -> None:
    """Served from the next look on."""
    rig.put("second")
    rig.look()
    assert rig.served() == _digest(rig.cert)


@pytest.mark.parametrize("fault", ["cut", "empty", "missing", "other key", "other certificate", "locked key"])
def test_a_fault_leaves_the_old_pair_whole(rig: _Rig, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """However often it is looked at: one warning, the old pair, and the way is open for a good one."""
    before = rig.served()
    if fault == "cut":
        rig.cert.write_bytes(rig.cert.read_bytes()[:200])
    elif fault == "empty":
        rig.key.write_bytes(b"")
    elif fault == "missing":
        rig.key.unlink()
    elif fault == "other key":
        _issue(rig.directory, "other")[1].replace(rig.key)
    elif fault == "other certificate":
        _issue(rig.directory, "other")[0].replace(rig.cert)
    else:
        _lock(rig.key)
    rig.look()
    assert not caplog.records  # it may be half-written: that is no fault yet
    for _ in range(3):
        rig.look()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert rig.served() == before
    rig.put("good")
    rig.look()
    assert rig.served() == _digest(rig.cert)


def test_a_link_that_points_elsewhere(rig: _Rig) -> None:
    """Certbot's files are symbolic links, and a renewal only moves those."""
    for name in ("old", "new"):
        certificate, key = _issue(rig.directory, name)
        certificate.rename(certificate.with_name("cert"))
        key.rename(key.with_name("key"))
    for path, name in ((rig.cert, "cert"), (rig.key, "key")):
        path.unlink()
        path.symlink_to(rig.directory / "old" / name)
    rig.look()
    assert rig.served() == _digest(rig.directory / "old" / "cert")
    for path, name in ((rig.cert, "cert"), (rig.key, "key")):
        path.unlink()
        path.symlink_to(rig.directory / "new" / name)
    rig.look()
    assert rig.served() == _digest(rig.directory / "new" / "cert")
