"""Constructs what has the API's certificate issued, and renews it."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vpnkeys.clock import SystemClock
from vpnkeys.domain.reached import HTTPS_PORT
from vpnkeys.settings import Settings
from vpnkeys.store.files.certificate import issued_files
from vpnkeys.worker import Worker

if TYPE_CHECKING:
    from vpnkeys.acme.renewal import CertificateRenewal


@dataclass(frozen=True, slots=True)
class Issuing:
    """Says how the certificate of a server with a domain is renewed; one without a domain renews nothing.

    `challenge` returns the context for handshakes of an authority that checks this server now, or None.
    """

    renewal: "CertificateRenewal | None" = None
    challenge: Callable[[], ssl.SSLContext | None] = lambda: None

    def fault(self) -> str:
        """Return why the last try to have a certificate failed; empty when none did."""
        return "" if self.renewal is None else self.renewal.fault

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The worker, if there is one."""
        return () if self.renewal is None else (self.renewal.worker,)


def build_issuing(settings: Settings) -> Issuing:
    """Return what renews the certificate. It answers the authority in TLS when the API is on port 443, else on 80."""
    if not settings.domain:
        return Issuing()
    # Here, because most servers have no domain.
    from vpnkeys.acme.answers import AlpnAnswers, HttpAnswers  # noqa: PLC0415
    from vpnkeys.acme.renewal import CertificateRenewal, Subject  # noqa: PLC0415

    files = issued_files(settings.data_dir)
    subject = Subject(
        name=settings.domain,
        cert=files.cert,
        key=files.key,
        account=files.key.with_name("account.pem"),
        directory=settings.acme_directory,
        ca_file=settings.acme_ca_file,
    )
    if settings.listen.port != HTTPS_PORT:
        return Issuing(CertificateRenewal(subject, HttpAnswers(), SystemClock()))
    answers = AlpnAnswers()
    return Issuing(CertificateRenewal(subject, answers, SystemClock()), lambda: answers.context)
