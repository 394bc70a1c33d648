"""Checks that this host has what settings name: the files that have to be there, and the addresses to listen on.

It is done before a start makes anything. What comes later, as an address of an interface that is slow, is taken at the
next start, which systemd makes a second after one that was refused.
"""

from collections.abc import Iterator
from pathlib import Path

from vpnkeys.files import CaUnfit, check_pair, load_ca
from vpnkeys.settings import PREFIX, NamedFile, Settings, SettingsError
from vpnkeys.store.files.certificate import CertificateFiles
from vpnkeys.xray.host.ports import binding_fault

_EVERY_IPV6 = "::"


def check_named(settings: Settings, *, runs_xray: bool) -> None:
    """Check what settings name on this host. Raises SettingsError with a line for each that is not there."""
    if faults := named_faults(settings, runs_xray=runs_xray):
        raise SettingsError("\n".join(faults))


def named_faults(settings: Settings, *, runs_xray: bool) -> tuple[str, ...]:
    """Return a line for each setting that names what this host does not have; without an Xray no key listens."""
    return (*_of_files(settings), *_of_addresses(settings, runs_xray=runs_xray))


def check_certificate(certificate: CertificateFiles) -> None:
    """Check that the certificate can be served. Raises SettingsError."""
    try:
        check_pair(certificate.cert, certificate.key)
    except (OSError, ValueError) as error:
        msg = (
            f"VPNKEYS_TLS_CERT, VPNKEYS_TLS_KEY: {certificate.cert} and {certificate.key} are not a certificate and "
            f"its key, in PEM and without a password: {error}"
        )
        raise SettingsError(msg) from error


def _of_files(settings: Settings) -> Iterator[str]:
    unread = [
        f"{PREFIX}{name.upper()}: {fault}; give a file that the server's user can read, or leave this out"
        for name, (path, kind) in settings.named_files().items()
        if (fault := _fault_of(path, kind))
    ]
    yield from unread
    # A file that is not there would be named twice.
    if not unread and settings.tls_cert is not None and settings.tls_key is not None:
        try:
            check_certificate(CertificateFiles(settings.tls_cert, settings.tls_key))
        except SettingsError as error:
            yield str(error)


def _fault_of(path: Path, kind: NamedFile) -> str:
    """Return why a file cannot be used; empty when it can."""
    try:
        if kind is NamedFile.TRUSTED:
            load_ca(path)
        else:
            with path.open("rb") as file:
                file.read(1)  # a directory can be opened, but not read
    except CaUnfit as error:
        return str(error)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return ""


def _of_addresses(settings: Settings, *, runs_xray: bool) -> Iterator[str]:
    # The API listens on IPv4 alone where there is no IPv6; Xray does not.
    api = "" if settings.listen.host == _EVERY_IPV6 else settings.listen.host
    for name, address in (("LISTEN", api), ("INBOUND_LISTEN", settings.inbound_listen if runs_xray else "")):
        if address and (fault := binding_fault(address)):
            yield f"{PREFIX}{name}: {address}: {fault}; give an address of this host, or 0.0.0.0 or :: for all of them"
