"""What goes wrong with a server in years, each as a context: it lasts as long as the block, and is undone after it."""

from __future__ import annotations

import datetime as dt
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.disks import empty, fill
from tests.support.room import Names
from tests.support.service import Service
from tests.support.target import RealityTarget
from vpnkeys.service.health.codes import Code


@dataclass(frozen=True, slots=True)
class Scene:
    """A service on a small disk of its own, and what else it lives by: its target, its name server, its clock."""

    service: Service
    target: RealityTarget
    names: Names | None = None
    clock: Path | None = None
    """The file that says by how many seconds the service's time of day is wrong."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    `/health` reports one of `codes` within fifteen seconds; there are none when it lasts for less, or does no harm. It
    `strikes` when it is over in a moment, so that only requests under way meet it. Customers who are connected `stay`,
    and limits are `enforced` meanwhile. One that `is_long` takes a minute or so.
    """

    during: Callable[[Scene], AbstractContextManager[None]]
    lasts_s: float = 0.0
    codes: frozenset[Code] = frozenset()
    strikes: bool = False
    stay: bool = False
    enforced: bool = False
    is_long: bool = False


@contextmanager
def _killed_service(scene: Scene) -> Iterator[None]:
    """The service is killed, and started again as its supervisor would."""
    scene.service.kill()
    yield
    scene.service.start()


@contextmanager
def _killed_xray(scene: Scene) -> Iterator[None]:
    """Xray is killed, and the service starts another one."""
    killed = scene.service.xray_pid()
    os.kill(killed, signal.SIGKILL)
    yield
    scene.service.child.wait_for(lambda: scene.service.find_xray_pid() not in (None, killed), "another Xray")


@contextmanager
def _frozen_xray(scene: Scene) -> Iterator[None]:
    """Xray accepts connections and does nothing."""
    pid = scene.service.xray_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # the service ends an Xray that hangs for long
            os.kill(pid, signal.SIGCONT)


@contextmanager
def _locked_database(scene: Scene) -> Iterator[None]:
    """Another program holds the database's write lock."""
    with closing(sqlite3.connect(scene.service.data_dir / "vpnkeys.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            database.execute("ROLLBACK")


@contextmanager
def _full_disk(scene: Scene) -> Iterator[None]:
    """No byte is left."""
    fill(scene.service.data_dir)
    try:
        yield
    finally:
        empty(scene.service.data_dir)


@contextmanager
def _read_only_disk(scene: Scene) -> Iterator[None]:
    """For the service and its Xray, what is opened from now on is read only.

    The kernel remounts nothing that is open for writing, so a read-only mount is laid over the directory.
    """
    directory = str(scene.service.data_dir)
    enter = ["nsenter", "--mount", f"--target={scene.service.pid}"]
    subprocess.run([*enter, "mount", "--bind", directory, directory], check=True)
    subprocess.run([*enter, "mount", "-o", "remount,bind,ro", directory], check=True)
    try:
        yield
    finally:
        subprocess.run([*enter, "umount", "--lazy", directory], check=True)


@contextmanager
def _expired_certificate(scene: Scene) -> Iterator[None]:
    """The API's own certificate is one that ended yesterday, until the service has made another one."""
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
    yield
    scene.service.child.wait_for(lambda: (directory / "cert.pem").read_bytes() != expired, "valid certificate")
    scene.service.child.wait_for(lambda: _is_trusted(scene.service), "valid certificate in service")


def _is_trusted(service: Service) -> bool:
    """Whether a client that trusts what lies on the disk gets in."""
    service.reconnect()
    try:
        return service.client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def _dead_target(scene: Scene) -> Iterator[None]:
    """The site behind REALITY is away."""
    scene.target.stop()
    try:
        yield
    finally:
        scene.target.start()


@contextmanager
def _dead_names(scene: Scene) -> Iterator[None]:
    """The name server says nothing."""
    assert scene.names is not None
    scene.names.is_silent = True
    try:
        yield
    finally:
        scene.names.is_silent = False


def _wrong_clock(hours: int) -> Callable[[Scene], AbstractContextManager[None]]:
    @contextmanager
    def wrong_clock(scene: Scene) -> Iterator[None]:
        """The time of day jumps, and back again."""
        assert scene.clock is not None
        scene.clock.write_text(f"{hours * 3600}\n")
        try:
            yield
        finally:
            scene.clock.write_text("0\n")

    return wrong_clock


_NO_ANSWER = frozenset({Code.XRAY_NOT_ANSWERING})
_NO_WRITES = frozenset({Code.DATABASE_UNWRITABLE})
_NO_TARGET = frozenset({Code.TARGET_DOWN, Code.NO_SERVER_NAME})

FAULTS: MappingProxyType[str, Fault] = MappingProxyType(
    {
        "service killed": Fault(_killed_service, strikes=True),
        "Xray killed": Fault(_killed_xray, strikes=True),
        "Xray frozen for 1 s": Fault(_frozen_xray, lasts_s=1.0),
        "Xray frozen for 5 s": Fault(_frozen_xray, lasts_s=5.0),
        "Xray frozen for 60 s": Fault(_frozen_xray, lasts_s=60.0, codes=_NO_ANSWER, is_long=True),
        "disk full": Fault(_full_disk, codes=frozenset({Code.DISK_FULL}), stay=True, enforced=True),
        "disk read only": Fault(_read_only_disk, codes=frozenset({Code.DISK_READ_ONLY}), stay=True, enforced=True),
        "target dead": Fault(_dead_target, codes=_NO_TARGET, stay=True, enforced=True),
        "DNS dead": Fault(_dead_names, codes=_NO_TARGET, stay=True, enforced=True),
        "database locked": Fault(_locked_database, codes=_NO_WRITES, stay=True, enforced=True),
        "clock +1 h": Fault(_wrong_clock(+1), lasts_s=3.0, stay=True, enforced=True),
        "clock -1 h": Fault(_wrong_clock(-1), lasts_s=3.0, stay=True),
        # Over with the renewal, after which clients that trust the certificate of before get no new connection.
        "certificate expired": Fault(_expired_certificate, strikes=True, stay=True),
    }
)
