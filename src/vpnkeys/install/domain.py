"""Sets the server's domain, and waits until the authority has issued its certificate."""

import re
import time
from pathlib import Path

from cryptography import x509

from vpnkeys.client import ApiError, Client
from vpnkeys.domain.reached import parse_domain
from vpnkeys.files import write_atomically
from vpnkeys.install.host import InstallFailed, Say
from vpnkeys.install.layout import Layout
from vpnkeys.install.notes import ENV_TEMPLATE
from vpnkeys.owner import as_owner
from vpnkeys.service.health.codes import Code
from vpnkeys.settings import PREFIX, admin_socket
from vpnkeys.store.files.certificate import issued_files

_PATIENCE_S = 150.0
_LOOK_EVERY_S = 0.5
_TELL_EVERY_S = 10.0


def set_domain(layout: Layout, domain: str) -> bool:
    """Write the domain into the settings file; return whether that changed anything. Raises InstallFailed."""
    try:
        domain = parse_domain(domain)
    except ValueError as error:
        raise InstallFailed(f"--domain: {error}") from error
    layout.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with as_owner(layout.data_dir):
        text = layout.env_file.read_text(encoding="utf-8") if layout.env_file.exists() else ENV_TEMPLATE
        changed = with_setting(text, f"{PREFIX}DOMAIN", domain)
        if changed != text:
            write_atomically(layout.env_file, changed.encode())
        return changed != text


def with_setting(text: str, name: str, value: str) -> str:
    """Return the text of a settings file with this setting: in the place of its line, or of its example, or last."""
    line = f"{name}={value}"
    replaced, count = re.subn(rf"^#?\s*{name}=.*$", line, text, count=1, flags=re.MULTILINE)
    return replaced if count else f"{text.rstrip()}\n\n{line}\n"


def wait_for_certificate(layout: Layout, domain: str, say: Say) -> bool:
    """Wait until the certificate is there, and say what is waited for; return whether it is. A failure is no error."""
    say(f"Waiting for the certificate for {domain}; this usually takes less than a minute.")
    began = told = time.monotonic()
    while not is_issued(layout.data_dir, domain):
        now = time.monotonic()
        if fault := _fault(layout):
            say(f"There is no certificate yet: {fault}")
            say("The server works with its self-signed one, and tries again by itself: journalctl -u vpnkeys")
            return False
        if now - began > _PATIENCE_S:
            say("There is no certificate yet; the server goes on trying: journalctl -u vpnkeys")
            return False
        if now - told >= _TELL_EVERY_S:
            told = now
            say(f"Still waiting for the certificate ({now - began:.0f} s).")
        time.sleep(_LOOK_EVERY_S)
    say(f"The certificate for {domain} is there; it is renewed by itself.")
    return True


def is_issued(data_dir: Path, domain: str) -> bool:
    """Return whether an authority has issued the certificate that is served, and for this domain."""
    try:
        with as_owner(data_dir):
            raw = issued_files(data_dir).cert.read_bytes()
        certificate = x509.load_pem_x509_certificate(raw)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    return certificate.issuer != certificate.subject and domain in {str(name.value) for name in names}


def _fault(layout: Layout) -> str:
    try:
        with Client.local(admin_socket(layout.data_dir), timeout=10.0) as server:
            problems = server.health().problems
    except (ApiError, OSError):
        return ""
    return next((problem.detail for problem in problems if problem.code == Code.CERTIFICATE_RENEWAL), "")
