"""`vpnkeys doctor` and what takes a server of the test's own: it is told, and what is said mends it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from tests.support import procfs
from tests.support.binaries import xray_binary
from tests.support.certificates import Authority
from tests.support.disks import empty, fill_for_good, needs_mounts, small_disk
from tests.support.doctor import CHECKS, examine, follow, quick
from tests.support.keys import list_keys, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite]

NAMES = ("one.example.com", "two.example.com")


@dataclass(frozen=True)
class Shared:
    """One server, with a target and an Xray of its own, for whatever does it no lasting harm."""

    service: Service
    target: RealityTarget
    binary: Path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """The server."""
    binary = tmp_path_factory.mktemp("programs") / "xray"
    shutil.copy2(xray_binary(), binary)
    settings = {"VPNKEYS_XRAY_BIN": str(binary)}
    with RealityTarget(NAMES, close_idle_s=0.1) as target, Service(target, settings=settings) as service:
        yield Shared(service, target, binary)


@pytest.fixture
def shared(whole: Shared) -> Shared:
    """The server, as it runs when all is well."""
    whole.service.be_ready()
    return whole


def test_a_certificate_that_expired(target: RealityTarget, tmp_path: Path) -> None:
    """Told with its day, of an operator's own; not any more when it was replaced."""
    cert, key = Authority(tmp_path).issue(["127.0.0.1"])
    fresh = cert.read_bytes()
    _expire(cert, key)
    with Service(target, settings={"VPNKEYS_TLS_CERT": str(cert), "VPNKEYS_TLS_KEY": str(key)}) as service:
        report = quick(service)
        (found,) = report.of("certificate", "fail")
        assert report.code == 1
        assert "expired on" in found["message"]
        assert found["mend"] == "certbot renew"
        cert.write_bytes(fresh)
        assert quick(service).of("certificate", "ok")


def test_a_certificate_without_its_key(shared: Shared, tmp_path: Path) -> None:
    """Told of one of the server's own; without the odd pair its next start makes another."""
    service = shared.service
    _, stranger = Authority(tmp_path).issue(["127.0.0.1"])
    shutil.copyfile(stranger, service.data_dir / "tls" / "key.pem")
    (found,) = quick(service).of("certificate", "fail")
    removal, _, rest = found["mend"].partition(" && ")
    assert rest.startswith(("systemctl restart", f"kill {service.pid} "))
    follow(service, tmp_path, removal)
    service.stop()
    service.start()
    assert quick(service).of("certificate", "ok")


@needs_mounts
def test_a_full_disk(target: RealityTarget, tmp_path: Path) -> None:
    """Told while it is full, with the self-test that cannot make its key; not any more when there is room."""
    with small_disk(tmp_path / "d", 48) as disk, Service(target, data_dir=disk) as service:
        service.wait_ready()
        assert quick(service).of("disk", "warn")
        fill_for_good(disk)
        report = examine(service)
        assert report.code == 1
        assert report.of("disk", "fail")
        assert report.of("self-test", "fail")
        empty(disk)
        assert "disk" not in quick(service).failed()
        assert list_keys(service) == []


def test_a_damaged_database(shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told of a copy in which pages are overwritten; the mend restores the newest backup, with its keys."""
    copy, service = tmp_path / "copy", shared.service
    for number in range(3):
        make_key(service, f"key {number}")
    (found,) = quick(service).of("backups", "warn")
    (service.data_dir / "backups").mkdir(mode=0o700, exist_ok=True)
    follow(service, tmp_path, found["mend"])
    assert quick(service).of("backups", "ok")
    service.stop()
    shutil.copytree(service.data_dir, copy, ignore=shutil.ignore_patterns("run"))
    copy.chmod(0o700)
    _damage(copy / "vpnkeys.db")
    report = examine(service, VPNKEYS_DATA_DIR=str(copy))
    assert report.code == 3
    (found,) = report.of("database", "fail")
    monkeypatch.setitem(service.env, "VPNKEYS_DATA_DIR", str(copy))
    follow(service, tmp_path, found["mend"])
    assert examine(service, VPNKEYS_DATA_DIR=str(copy)).of("database", "ok")
    with closing(sqlite3.connect(copy / "vpnkeys.db")) as database:
        assert database.execute("SELECT count(*) FROM keys").fetchone() == (3,)


def test_xray_cannot_start(shared: Shared, tmp_path: Path) -> None:
    """Killed, and its program gone: it is told that Xray does not run; with the program it comes back."""
    service, binary = shared.service, shared.binary
    pid = service.xray_pid()
    binary.rename(tmp_path / "gone")
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not procfs.is_alive(pid))
    report = examine(service)
    assert report.code == 1
    assert {"xray", "self-test"} <= set(report.failed())
    (tmp_path / "gone").rename(binary)
    service.xray_pid()
    service.wait_ready()
    assert "xray" not in quick(service).failed()


def test_a_target_that_is_gone(shared: Shared) -> None:
    """Told for each name that needs it, until it is back."""
    service, target = shared.service, shared.target
    target.stop()
    report = quick(service)
    assert report.code == 1
    assert len(report.of("targets", "fail")) == len(NAMES)
    target.start()
    assert "targets" not in quick(service).failed()


def test_no_server(shared: Shared) -> None:
    """3, and what needs none is looked at all the same, for a server that hangs as for one that was stopped."""
    service = shared.service
    service.child.send_signal(signal.SIGSTOP)
    hanging = examine(service)
    assert hanging.code == 3
    assert "does not answer" in hanging.of("server", "fail")[0]["message"]
    service.child.send_signal(signal.SIGCONT)
    service.stop()
    with socket.create_server(service.address) as _:
        report = examine(service, **_settings(service))
    assert report.code == 3
    assert "not checked: health, drift, nodes, kernel, self-test" in report.of("server", "fail")[0]["message"]
    assert str(service.address[1]) in report.of("ports", "fail")[0]["message"]
    assert {found["check"] for found in report.findings} == CHECKS - {
        "health",
        "drift",
        "nodes",
        "kernel",
        "self-test",
        "descriptors",
    }


def test_wrong_settings(target: RealityTarget, tmp_path: Path) -> None:
    """2, and which."""
    (tmp_path / "vpnkeys.env").write_text("VPNKEYS_PORT_RANGE=many\n")
    done = subprocess.run(
        [sys.executable, "-m", "vpnkeys", "doctor"],
        env={**os.environ, "VPNKEYS_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "VPNKEYS_PORT_RANGE" in done.stderr


def _settings(service: Service) -> dict[str, str]:
    """A server that does not run cannot be asked for them."""
    return {name: value for name, value in service.env.items() if name.startswith("VPNKEYS_")}


def _expire(cert: Path, key_file: Path) -> None:
    """The same certificate, but for its end, which was yesterday."""
    key = load_pem_private_key(key_file.read_bytes(), None)
    old = x509.load_pem_x509_certificate(cert.read_bytes())
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        old.issuer, old.subject, old.public_key(), 7, now - timedelta(days=9), now - timedelta(days=1)
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    cert.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))  # type: ignore[arg-type]  # EC, as the server makes it


def _damage(database: Path) -> None:
    """Overwrite the page in which the keys are."""
    with closing(sqlite3.connect(database)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'keys'").fetchone()
    with database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(os.urandom(size))
