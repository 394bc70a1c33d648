"""Reloads the TLS certificate when its files change on disk; connections that are open keep the old one."""

import logging
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from vpnkeys.files import Mark, check_pair, in_memory, load_pair
from vpnkeys.worker import AsyncWorker, Job

_log = logging.getLogger(__name__)

_EVERY_S = 2.0
_RENEW_EVERY_S = 3600.0
_JOB = Job(
    name="certificate",
    failing="the certificate files could not be checked",
    every_s=_EVERY_S,
    first_after_s=_EVERY_S,
    back_off_s=(_EVERY_S, 10.0, 60.0),
    late_after_s=30.0,
)


class CertificateReload:
    """Loads two PEM files, a certificate chain and its key, into a TLS context again after every change.

    Create it before the context is first loaded, so that no change is missed. A pair that does not fit together, as
    while the files are being written, is not loaded; one that stays unfit is logged once. `renew` is called about once
    an hour, and before changed files are loaded, to renew an expiring certificate on disk.
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
        """Return the worker that checks the files every two seconds, in the event loop that serves the connections."""

        # In the event loop, because handshakes use the context there: an SSL_CTX may not be changed by one
        # thread while another one makes connections from it.
        async def look() -> None:
            self.look(context)

        return AsyncWorker(_JOB, look)

    def look(self, context: ssl.SSLContext) -> None:
        """Load the files into the context when they have changed and are a valid pair."""
        self._renew_now_and_then()
        versions = self._versions()
        if versions == self._served:
            self._unfit, self._warned = None, False
            return
        try:
            self._take(context)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            # The two files cannot be replaced in one step. A pair that is unfit at two checks in a row is logged.
            if versions == self._unfit and not self._warned:
                _log.warning(
                    "the new certificate cannot be used, the old one stays in service; check %s and %s: %s",
                    self._cert, self._key, error,
                )  # fmt: skip
                self._warned = True
            self._unfit = versions
            return
        self._served, self._unfit, self._warned = versions, None, False
        _log.info("new connections get the new certificate from %s", self._cert)

    def _renew_now_and_then(self) -> None:
        """Call `renew` once an hour, and when the files have changed: they may come from an old backup."""
        now = time.monotonic()
        if now - self._renewed_at < _RENEW_EVERY_S and self._versions() == self._served:
            return
        self._renewed_at = now
        with suppress(OSError):  # it is tried again in an hour; the certificate in memory still works
            self._renew()

    def _versions(self) -> tuple[Mark | None, ...]:
        return tuple(Mark.at(path) for path in (self._cert, self._key))

    def _take(self, context: ssl.SSLContext) -> None:
        """Load the pair into the context. Raises OSError or ValueError; the context is unchanged then."""
        # A context whose key fails to load after its certificate is left without both, so the pair is first loaded into
        # a context of its own. Copies in memory, because the files may change between the two loads.
        with in_memory(self._cert.read_bytes()) as cert, in_memory(self._key.read_bytes()) as key:
            check_pair(cert, key)
            load_pair(context, cert, key)
