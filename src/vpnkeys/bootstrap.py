"""The only place that constructs: from settings to a server whose parts know each other."""

import fcntl
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from vpnkeys.domain.inbound import Site, warm_inbound
from vpnkeys.domain.reality import KeyPair
from vpnkeys.service.health import Health
from vpnkeys.service.keys import KeyService
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.settings import Settings, SettingsError
from vpnkeys.store.certificate import CertificateFiles, load_certificate
from vpnkeys.store.engine import open_engine
from vpnkeys.store.migrate import migrate
from vpnkeys.store.secrets import ApiKeyHash, load_api_key, load_key_pair
from vpnkeys.store.sql import SqlStore
from vpnkeys.xray import sockets
from vpnkeys.xray.binary import XrayBinary
from vpnkeys.xray.config import Frame
from vpnkeys.xray.configfile import ConfigFile, xray_checker
from vpnkeys.xray.control import XrayControl
from vpnkeys.xray.node import LocalNode
from vpnkeys.xray.process import XrayCommand, XrayProcess
from vpnkeys.xray.warm import Warmth

_log = logging.getLogger(__name__)

_SOCKET_PATH_MAX_BYTES = 100  # 108 in unix(7), less Xray's `.lock` behind it


class SystemClock:
    """The host's clock."""

    def now(self) -> datetime:
        """UTC, without an offset."""
        return datetime.now(UTC).replace(tzinfo=None)


@dataclass(frozen=True, slots=True)
class Server:
    """A whole server, ready to be started. `new_api_key` is set when it was made just now."""

    settings: Settings
    keys: KeyService
    reconciler: Reconciler
    health: Health
    api_key: ApiKeyHash
    new_api_key: str | None
    certificate: CertificateFiles
    node: LocalNode
    process: XrayProcess
    lock: IO[str]

    def start(self) -> None:
        """Put config.json right, start Xray and repair it in the background as soon as it answers."""
        self.node.prepare(self.reconciler.desired(self.reconciler.store.keys()))
        self.reconciler.start()
        self.node.warmth.start()
        self.process.start()

    def stop(self) -> None:
        """End Xray and let go of everything."""
        self.process.stop()
        self.node.control.close()
        self.reconciler.store.close()
        self.lock.close()


def build(settings: Settings, xray: XrayBinary) -> Server:
    """Construct a server on its data directory, which is made when it is missing.

    Raises SettingsError when the data directory cannot serve, VpnKeysError when a part of it does not answer.
    """
    lock = _take(settings.data_dir)
    pair = _key_pair(settings.data_dir)
    api_key, new_api_key = load_api_key(
        settings.data_dir, settings.api_key.get_secret_value() if settings.api_key else None
    )
    engine = open_engine(settings.database_url)
    migrate(engine)
    site = _site(settings, pair)
    node = _node(settings, site, pair, xray)
    reconciler = Reconciler(SqlStore(engine), node, site, on_repaired=node.warmth.xray_is_up)
    clock = SystemClock()
    process = XrayProcess(
        XrayCommand(xray.path, node.file.start_file, _sockets(site), _xray_environment(settings)),
        on_up=lambda _pid: reconciler.repair_soon(),
        on_down=node.warmth.xray_is_down,
    )
    return Server(
        settings=settings,
        keys=KeyService(reconciler, clock, settings.port_range, settings.server_address, pair.public_key),
        reconciler=reconciler,
        health=Health(node, reconciler.store, can_cut=sockets.can_cut()),
        api_key=api_key,
        new_api_key=new_api_key,
        certificate=_certificate(settings),
        node=node,
        process=process,
        lock=lock,
    )


def _take(data_dir: Path) -> IO[str]:
    """Make the data directory and lock it for as long as this process lives: one server on one directory."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        data_dir.chmod(0o700)
        (data_dir / "run").mkdir(mode=0o700, exist_ok=True)
        lock = (data_dir / ".lock").open("w", encoding="ascii")
    except OSError as error:
        msg = f"VPNKEYS_DATA_DIR: {data_dir} cannot be used: {error.strerror}"
        raise SettingsError(msg) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        msg = f"VPNKEYS_DATA_DIR: another vpnkeys serves {data_dir} already; stop that one first"
        raise SettingsError(msg) from error
    return lock


def _key_pair(data_dir: Path) -> KeyPair:
    try:
        return load_key_pair(data_dir)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _site(settings: Settings, pair: KeyPair) -> Site:
    socket_dir = settings.data_dir / "run"
    if len(os.fsencode(socket_dir)) + len("/warm-00.sock.lock") > _SOCKET_PATH_MAX_BYTES:
        msg = f"VPNKEYS_DATA_DIR: the path {settings.data_dir} is too long for a Unix socket; use a shorter one"
        raise SettingsError(msg)
    return Site(
        listen=settings.inbound_listen,
        private_key=pair.private_key,
        socket_dir=str(socket_dir),
        server_names=settings.reality_server_names,
        forced_target=settings.reality_target,
    )


def _node(settings: Settings, site: Site, pair: KeyPair, xray: XrayBinary) -> LocalNode:
    api_socket = Path(site.socket_dir) / "api.sock"
    frame = Frame(str(api_socket), settings.port_range, settings.egress_allow)
    warm = tuple(warm_inbound(name, site) for name in site.server_names)
    return LocalNode(
        file=ConfigFile(settings.data_dir / "config.json", frame, xray_checker(xray.path)),
        control=XrayControl(api_socket),
        warmth=Warmth(xray.path, _xray_environment(settings), pair.public_key, warm),
        api_socket=api_socket,
    )


def _sockets(site: Site) -> tuple[Path, ...]:
    names = ["api.sock", *(f"warm-{index}.sock" for index in range(len(site.server_names)))]
    return tuple(Path(site.socket_dir) / name for name in names)


def _xray_environment(settings: Settings) -> dict[str, str]:
    """What Xray sees of our environment: no secret of ours, and the certificates it should trust in targets."""
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TZ"}}
    if settings.xray_ca_file is not None:
        environment["SSL_CERT_FILE"] = str(settings.xray_ca_file)
    return environment


def _certificate(settings: Settings) -> CertificateFiles:
    if settings.tls_cert is not None and settings.tls_key is not None:
        return CertificateFiles(settings.tls_cert, settings.tls_key)
    return load_certificate(settings.data_dir, settings.server_address)
