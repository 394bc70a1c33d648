"""Constructs what a server has with a node and without one."""

import logging
import os
import time
from dataclasses import replace
from pathlib import Path

from vpnkeys.clock import SystemClock
from vpnkeys.domain.errors import ConfigUnwritable
from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.domain.operator import Operator
from vpnkeys.domain.reality import KeyPair
from vpnkeys.rundir import run_dir
from vpnkeys.service.nodes.board import Board
from vpnkeys.service.nodes.lease import Lease, Turn
from vpnkeys.service.nodes.leftover import LeftOver
from vpnkeys.service.nodes.limits import FarLimits
from vpnkeys.service.nodes.news import DatabaseWatch
from vpnkeys.service.nodes.watch import NodeWatch
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.service.subscriptions import SubscriptionService
from vpnkeys.settings import Settings, SettingsError
from vpnkeys.store.files.certificate import CertificateFiles
from vpnkeys.store.files.secrets import REALITY_FILE, load_key_pair, save_key_pair
from vpnkeys.store.sql.opening import listener_of
from vpnkeys.worker import Worker
from vpnkeys.xray.config.aside import Aside, move_aside

_log = logging.getLogger(__name__)
_SOCKET_PATH_MAX_BYTES = 100  # 108 in unix(7), less Xray's `.lock` behind it


def subscriptions_of(
    settings: Settings, reconciler: Reconciler, clock: SystemClock, served: CertificateFiles
) -> SubscriptionService:
    """Return the use cases about subscriptions, which end with their keys even while the database stores no stop.

    Behind a public URL there is a proxy, with a certificate of its own.
    """
    operator = Operator(settings.operator_name, settings.support_url, settings.announcement)
    is_self_signed = (lambda: False) if settings.public_url else served.is_self_signed
    keys = reconciler.stops.keys
    return SubscriptionService(reconciler.store, clock, settings.base_url, keys, operator, is_self_signed)


def identity_of(settings: Settings, pair: KeyPair) -> ServerIdentity:
    """Return what links and inbounds of this server carry. Raises SettingsError."""
    socket_dir = run_dir(settings.data_dir)
    if len(os.fsencode(socket_dir)) + len("/warm-00.sock.lock") > _SOCKET_PATH_MAX_BYTES:
        msg = f"VPNKEYS_DATA_DIR: the path {settings.data_dir} is too long for a Unix socket; use a shorter one"
        raise SettingsError(msg)
    return ServerIdentity(
        listen=settings.inbound_listen,
        private_key=pair.private_key,
        socket_dir=str(socket_dir),
        server_names=settings.reality_server_names,
        forced_target=settings.reality_target,
        server_address=settings.server_address,
        public_key=pair.public_key,
        fingerprint=settings.utls_fingerprint,
    )


def reload_key_pair(data_dir: Path, reconciler: Reconciler) -> None:
    """Use the key pair that is stored now, which may have been restored or replaced since the start.

    Where none is stored any more, the one in use is stored again: with another one no link would work. What is damaged
    is kept aside. Raises ConfigUnwritable.
    """
    site = reconciler.site
    in_use = KeyPair(site.private_key, site.public_key)
    try:
        pair = _stored(data_dir) or save_key_pair(data_dir, in_use)
    except OSError as error:
        msg = f"{REALITY_FILE} cannot be read or written in the data directory: {error.strerror}; nothing was changed."
        raise ConfigUnwritable(msg) from error
    reconciler.site = replace(site, private_key=pair.private_key, public_key=pair.public_key)


def _stored(data_dir: Path) -> KeyPair | None:
    """Return the stored key pair; None without one, or after a damaged one was kept aside. Raises OSError."""
    path = data_dir / REALITY_FILE
    if not path.exists():
        return None
    try:
        return load_key_pair(data_dir)
    except ValueError:
        aside = move_aside(path, Aside.BROKEN)
        _log.warning("%s was damaged; it is kept as %s, and the key pair in use is written", path.name, aside.name)
        return None


def node_workers(settings: Settings, board: Board, limits: FarLimits, watch: NodeWatch) -> tuple[Worker, ...]:
    """Return the workers of nodes elsewhere, in order: each may use those before it. They sleep until there is one."""
    left_over = LeftOver(board, time.monotonic)
    listener = listener_of(settings.database_url) if board.store.is_remote else None
    workers = limits.worker, DatabaseWatch(board, listener).worker, left_over.worker

    # Each sleeps until it is woken, so all are.
    def look() -> None:
        for worker in workers:
            worker.wake()
        watch.look_soon()

    board.on_made = look
    return (*workers, watch.worker)


def lease(board: Board, name: str) -> Turn:
    """Return whether it is this server's turn to do what one of those does that share the database."""
    return Lease(name, board.store, board.owner).is_mine
