"""What goes wrong with a server in years, each as a function that does it to a service under test and undoes it."""

from __future__ import annotations

import datetime as dt
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from types import MappingProxyType

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.service import Service
from tests.support.target import RealityTarget

_A_WHILE_S = 6.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A service on a small disk of its own, its target, and how long its database is locked when it is."""

    service: Service
    target: RealityTarget
    locked_s: float


def _kill_api(scene: Scene) -> None:
    """Kill the API, and start it again as its supervisor would."""
    scene.service.kill()
    scene.service.start()


def _kill_xray(scene: Scene) -> None:
    """Kill Xray, and wait until the service has started another one."""
    killed = scene.service.xray_pid()
    os.kill(killed, signal.SIGKILL)
    scene.service.child.wait_for(lambda: scene.service.find_xray_pid() not in (None, killed), "another Xray")


def _lock_database(scene: Scene) -> None:
    """Hold the database's write lock for longer than a writer waits."""
    with closing(sqlite3.connect(scene.service.data_dir / "vpnkeys.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        time.sleep(scene.locked_s)
        database.execute("ROLLBACK")


def _fill_disk(scene: Scene) -> None:
    """Fill the disk, then free it again."""
    ballast = scene.service.data_dir / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    time.sleep(_A_WHILE_S)
    ballast.unlink()


def _expire_certificate(scene: Scene) -> None:
    """The API's own certificate is one that ended yesterday."""
    directory = scene.service.data_dir / "tls"
    raw = serialization.load_pem_private_key((directory / "key.pem").read_bytes(), password=None)
    assert isinstance(raw, ec.EllipticCurvePrivateKey)
    old = x509.load_pem_x509_certificate((directory / "cert.pem").read_bytes())
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder(extensions=list(old.extensions))
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(raw.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=10))
        .not_valid_after(now - dt.timedelta(days=1))
    )
    expired = builder.sign(raw, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (directory / "cert.pem").write_bytes(expired)
    scene.service.child.wait_for(lambda: (directory / "cert.pem").read_bytes() != expired, "valid certificate")
    scene.service.child.wait_for(lambda: _is_trusted(scene.service), "valid certificate in service")


def _is_trusted(service: Service) -> bool:
    """Whether a client that trusts what lies on the disk gets in."""
    service.reconnect()
    try:
        return service.client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def _lose_target(scene: Scene) -> None:
    """The site behind REALITY is away for a while."""
    scene.target.stop()
    time.sleep(_A_WHILE_S)
    scene.target.start()


FAULTS: MappingProxyType[str, Callable[[Scene], None]] = MappingProxyType(
    {
        "API killed": _kill_api,
        "Xray killed": _kill_xray,
        "database locked": _lock_database,
        "disk full": _fill_disk,
        "certificate expired": _expire_certificate,
        "target gone": _lose_target,
    }
)
