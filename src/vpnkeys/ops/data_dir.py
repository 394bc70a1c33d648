"""The data directory: its lock, and the secrets and certificate in it, which are made at the first start."""

import fcntl
import os
from contextlib import ExitStack
from pathlib import Path
from stat import S_IMODE

from vpnkeys.domain.reality import KeyPair
from vpnkeys.files import keep_reserve
from vpnkeys.rundir import API_SOCKET, ensure_run_dir, memory_dir, run_dir
from vpnkeys.settings import ENVIRONMENT, Settings, SettingsError
from vpnkeys.store.files.certificate import (
    CertificateFiles,
    issued_files,
    load_certificate,
    load_issued,
    own_files,
)
from vpnkeys.store.files.secrets import ApiKeyHash, load_api_key, load_key_pair
from vpnkeys.store.files.stop_journal import FileStopJournal
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


def take(data_dir: Path) -> ExitStack:
    """Make the data directory, lock it, and return the lock, which lasts until it is closed or this process ends.

    Raises SettingsError when the directory cannot be used or another process holds the lock.
    """
    with ExitStack() as lock:
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            if S_IMODE(data_dir.stat().st_mode) != _OWNER_ONLY:  # asked first, for a read-only disk
                data_dir.chmod(_OWNER_ONLY)
            _lock(data_dir, os.O_DIRECTORY, lock)  # nobody can remove it from under us, as a file in it
            _lock(data_dir / ".lock", os.O_CREAT | os.O_NOFOLLOW, lock)  # all that earlier versions lock
        except BlockingIOError as error:
            msg = f"VPNKEYS_DATA_DIR: another vpnkeys uses {data_dir}; stop that one first"
            raise SettingsError(msg) from error
        except OSError as error:
            msg = f"VPNKEYS_DATA_DIR: {data_dir} cannot be used: {error.strerror}"
            raise SettingsError(msg) from error
        try:
            ensure_run_dir(run_dir(data_dir), memory_dir(ENVIRONMENT))
        except OSError as error:
            msg = f"VPNKEYS_DATA_DIR: {run_dir(data_dir)} cannot be made for sockets: {error.strerror}"
            raise SettingsError(msg) from error
        return lock.pop_all()


def _lock(path: Path, flags: int, until: ExitStack) -> None:
    """Lock a file or directory. Raises BlockingIOError when another process has it locked, OSError."""
    # Opened for reading, which a read-only disk allows too.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags, 0o600)
    until.callback(os.close, descriptor)
    # The kernel frees the lock when the process dies, however it dies, so that no stale lock is left.
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def reserve_keeper(data_dir: Path, journal: FileStopJournal) -> Worker:
    """Return a worker that puts the journal and the reserve on the disk when there is room, and when there is again."""

    def keep() -> None:
        journal.prepare()
        keep_reserve(data_dir)

    return Worker(_RESERVE_JOB, keep)


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
    """Return the certificate to serve, made if it is missing: the operator's, an authority's, or one of our own."""
    if settings.tls_cert is not None and settings.tls_key is not None:
        return CertificateFiles(settings.tls_cert, settings.tls_key)
    load = load_issued if settings.domain else load_certificate
    return load(settings.data_dir, settings.server_address)


def certificate_files(settings: Settings) -> CertificateFiles:
    """Return the paths of the certificate to serve, whether it is there or not."""
    if settings.tls_cert is not None and settings.tls_key is not None:
        return CertificateFiles(settings.tls_cert, settings.tls_key)
    own = own_files(settings.data_dir, settings.server_address)
    return issued_files(settings.data_dir) if settings.domain else own


def api_socket(settings: Settings) -> Path:
    """Return the Unix socket of Xray's API."""
    return run_dir(settings.data_dir) / API_SOCKET
