"""The data directory: its lock, and the secrets and certificate in it, which are made at the first start."""

import fcntl
import os
from functools import partial
from pathlib import Path
from stat import S_IMODE
from typing import IO

from vpnkeys.domain.reality import KeyPair
from vpnkeys.files import keep_reserve
from vpnkeys.rundir import API_SOCKET, ensure_run_dir, memory_dir, run_dir
from vpnkeys.settings import ENVIRONMENT, Settings, SettingsError
from vpnkeys.store.files.certificate import CertificateFiles, load_certificate
from vpnkeys.store.files.secrets import ApiKeyHash, load_api_key, load_key_pair
from vpnkeys.worker import Job, Worker

_OWNER_ONLY = 0o700
_RESERVE_JOB = Job(
    name="disk-reserve",
    failing="the disk's reserve could not be kept",
    every_s=5.0,
    back_off_s=(5.0,),
    late_after_s=30.0,
    stop_within_s=0.5,
)


def take(data_dir: Path) -> IO[str]:
    """Make the data directory, lock it, and return the lock, which lasts until it is closed or this process ends.

    Raises SettingsError when the directory cannot be used or another process holds the lock.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if S_IMODE(data_dir.stat().st_mode) != _OWNER_ONLY:  # asked first, as a read-only disk refuses even no change
            data_dir.chmod(_OWNER_ONLY)
        lock = _open_lock(data_dir / ".lock")
    except OSError as error:
        msg = f"VPNKEYS_DATA_DIR: {data_dir} cannot be used: {error.strerror}"
        raise SettingsError(msg) from error
    try:
        # The kernel frees the lock when the process dies, however it dies, so that no stale lock is left.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        msg = f"VPNKEYS_DATA_DIR: another vpnkeys uses {data_dir}; stop that one first"
        raise SettingsError(msg) from error
    try:
        if data_dir.stat().st_uid == os.geteuid():  # else root repairs another user's, and leaves its sockets alone
            ensure_run_dir(run_dir(data_dir), memory_dir(ENVIRONMENT))
    except OSError as error:
        lock.close()
        msg = f"VPNKEYS_DATA_DIR: {run_dir(data_dir)} cannot be made for sockets: {error.strerror}"
        raise SettingsError(msg) from error
    return lock


def _open_lock(path: Path) -> IO[str]:
    """Return the lock's file, made if it is missing. It is opened for reading, which a read-only disk allows too."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), encoding="ascii")


def reserve_keeper(data_dir: Path) -> Worker:
    """Return a worker that puts the reserve on the disk when there is room, and whenever there is room again."""
    return Worker(_RESERVE_JOB, partial(keep_reserve, data_dir))


def key_pair(settings: Settings) -> KeyPair:
    """Return the server's REALITY key pair. Raises SettingsError when it is damaged."""
    try:
        return load_key_pair(settings.data_dir)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def api_key(settings: Settings) -> tuple[ApiKeyHash, str | None]:
    """Return the API key's hash, and the key itself when it was made just now. Raises SettingsError when damaged."""
    given = settings.api_key.get_secret_value() if settings.api_key else None
    try:
        return load_api_key(settings.data_dir, given)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def certificate(settings: Settings) -> CertificateFiles:
    """Return the operator's certificate, or one of our own."""
    if settings.tls_cert is not None and settings.tls_key is not None:
        return CertificateFiles(settings.tls_cert, settings.tls_key)
    return load_certificate(settings.data_dir, settings.server_address)


def api_socket(settings: Settings) -> Path:
    """Return the Unix socket of Xray's API."""
    return run_dir(settings.data_dir) / API_SOCKET
