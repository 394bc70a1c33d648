"""A certificate that was replaced on disk is served to new connections; open ones do not notice."""

import logging
import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vpnkeys.files import Mark
from vpnkeys.worker import AsyncWorker, Job

_log = logging.getLogger(__name__)

_EVERY_S = 2.0
_RENEW_EVERY_S = 3600.0
_JOB = Job(
    name="certificate",
    failing="the certificate could not be looked at",
    every_s=_EVERY_S,
    first_after_s=_EVERY_S,
    back_off_s=(_EVERY_S, 10.0, 60.0),
    late_after_s=30.0,
)


class CertificateReload:
    """Keeps a TLS context at what two PEM files hold.

    Make it before the context is first loaded, so that no change goes unseen. Files that do not fit, as while they are
    being written, change nothing. There is one warning when they stay so. `renew` is asked now and then to put a
    certificate right on disk that is about to end.
    """

    def __init__(self, cert: Path, key: Path, renew: Callable[[], None] = lambda: None) -> None:
        self._cert = cert
        self._key = key
        self._renew = renew
        self._renewed_at = float("-inf")
        self._served = self._versions()
        self._unfit: tuple[Mark | None, ...] | None = None
        self._warned = False

    def worker(self, context: ssl.SSLContext) -> AsyncWorker:
        """Return what looks again and again, in the event loop: no other thread may change a context in use."""

        async def look() -> None:
            self.look(context)

        return AsyncWorker(_JOB, look)

    def look(self, context: ssl.SSLContext) -> None:
        """Take what is new, if it fits."""
        self._renew_now_and_then()
        versions = self._versions()
        if versions == self._served:
            self._unfit, self._warned = None, False
            return
        try:
            self._take(context)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            # Half a file is no fault: it is whole the next time. Only what stays as it is deserves a word.
            if versions == self._unfit and not self._warned:
                _log.warning(
                    "the new certificate cannot be used, the old one stays in service: %s or %s: %s",
                    self._cert, self._key, error,
                )  # fmt: skip
                self._warned = True
            self._unfit = versions
            return
        self._served, self._unfit, self._warned = versions, None, False
        _log.info("new connections get the new certificate of %s", self._cert)

    def _renew_now_and_then(self) -> None:
        """Once an hour, and whenever the files have changed: they may be an old backup's."""
        now = time.monotonic()
        if now - self._renewed_at < _RENEW_EVERY_S and self._versions() == self._served:
            return
        self._renewed_at = now
        with suppress(OSError):  # the next time, then; what is served still works
            self._renew()

    def _versions(self) -> tuple[Mark | None, ...]:
        return tuple(Mark.at(path) for path in (self._cert, self._key))

    def _take(self, context: ssl.SSLContext) -> None:
        """Raises OSError or ValueError, and has changed nothing then.

        A context that was given a certificate whose key then fails is left without either; so the pair is tried on
        another context, and what was tried is what is used: bytes read once, not files that change in between.
        """
        with _in_memory(self._cert) as cert, _in_memory(self._key) as key:
            check_pair(cert, key)
            _load(context, cert, key)


def check_pair(cert: str | Path, key: str | Path) -> None:
    """Raises OSError or ValueError unless these are a certificate and its key, in PEM and without a password."""
    _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert, key)


def _load(context: ssl.SSLContext, cert: str | Path, key: str | Path) -> None:
    # Without a password OpenSSL would ask for one on the terminal, and everything would wait for it.
    context.load_cert_chain(cert, key, password=lambda: "")


@contextmanager
def _in_memory(path: Path) -> Iterator[str]:
    """The path of a copy of a file; the copy is on no disk."""
    content = path.read_bytes()
    with open(os.memfd_create("pem", os.MFD_CLOEXEC), "wb", buffering=0) as copy:  # noqa: PTH123 - it has no path
        copy.write(content)
        yield f"/proc/self/fd/{copy.fileno()}"
