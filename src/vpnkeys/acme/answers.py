"""Answers an authority that checks whether a name or address leads to this server.

Either on port 80 (http-01, RFC 8555, 8.3), by a small listener that is there only while it is needed, or in a TLS
handshake on port 443 (tls-alpn-01, RFC 8737), where the API's own listener asks `AlpnAnswers`.
"""

import datetime as dt
import errno
import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from socketserver import ThreadingMixIn
from typing import Any, ClassVar, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from vpnkeys.acme.errors import IssuanceFailed
from vpnkeys.files import in_memory

ALPN = "acme-tls/1"

_PATH = "/.well-known/acme-challenge/"
_HTTP_PORT = 80
_SLOWEST_S = 10.0
_MOST_AT_ONCE = 64
_STOP_LOOK_S = 0.05

_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # id-pe-acmeIdentifier
_OCTET_STRING_OF_32_BYTES = b"\x04\x20"


class Answers(Protocol):
    """One way to answer. `kind` is its name in ACME."""

    kind: ClassVar[str]

    def given(self, identifier: str, token: str, key_authorization: str) -> AbstractContextManager[None]:
        """Return a context in which a check of the identifier is answered. Entering it raises IssuanceFailed."""
        ...


class HttpAnswers:
    """Answers on port 80, IPv4 and IPv6."""

    kind: ClassVar[str] = "http-01"

    def __init__(self, port: int = _HTTP_PORT) -> None:
        self._port = port

    @contextmanager
    def given(self, identifier: str, token: str, key_authorization: str) -> Iterator[None]:  # noqa: ARG002 - for TLS
        """Listen while the block lasts. Raises IssuanceFailed when the port cannot be had."""
        content = {f"{_PATH}{token}": key_authorization.encode("ascii")}
        with ExitStack() as stack:
            for family in (socket.AF_INET, socket.AF_INET6):
                try:
                    server = stack.enter_context(_Server(family, self._port, content))
                except OSError as error:
                    if family == socket.AF_INET6 and error.errno != errno.EADDRINUSE:
                        continue  # this host has no IPv6
                    raise _no_port(self._port, error) from error
                thread = threading.Thread(target=server.serve_forever, args=(_STOP_LOOK_S,), daemon=True)
                thread.start()
                stack.callback(thread.join)
                stack.callback(server.shutdown)
            yield


def _no_port(port: int, error: OSError) -> IssuanceFailed:
    if error.errno == errno.EADDRINUSE:
        reason = f"another program has port {port}"
        cure = f"`ss -ltnp sport = :{port}` names it. Stop it, or leave certificates to it: see `VPNKEYS_TLS_CERT`"
    else:
        reason = f"port {port} cannot be opened"
        cure = "run the server as installed, with CAP_NET_BIND_SERVICE"
    return IssuanceFailed(f"{reason}, on which the authority checks this server ({error.strerror}); {cure}", reason)


class _Server(ThreadingMixIn, HTTPServer):
    """Answers from a table. Each connection has a thread, so that a slow one delays no other; too many are closed."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, family: socket.AddressFamily, port: int, content: dict[str, bytes]) -> None:
        self.address_family = family
        self.content = content
        self._room = threading.BoundedSemaphore(_MOST_AT_ONCE)
        super().__init__(("::" if family == socket.AF_INET6 else "", port), _Handler)

    def server_bind(self) -> None:
        """Bind without a look-up of this host's name, which may take long; IPv6 apart from IPv4."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's own
        """Start a thread for the connection, or close it."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's own
        """Serve one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: anybody may connect and hang up."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SLOWEST_S
    server_version, sys_version = "vpnkeys", ""

    def do_GET(self) -> None:
        """Send the answer to its path; 404 for any other."""
        content = self.server.content.get(self.path)
        self.send_response(HTTPStatus.NOT_FOUND if content is None else HTTPStatus.OK)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own
        """Log nothing."""


class AlpnAnswers:
    """Answers in the TLS handshakes of the API's listener, when that is on port 443."""

    kind: ClassVar[str] = "tls-alpn-01"

    def __init__(self) -> None:
        self.context: ssl.SSLContext | None = None
        """The context for handshakes of the authority; None while no check is expected. Read by another thread."""

    @contextmanager
    def given(self, identifier: str, token: str, key_authorization: str) -> Iterator[None]:  # noqa: ARG002 - for HTTP
        """Have a context for the authority's handshakes while the block lasts."""
        self.context = _alpn_context(identifier, key_authorization)
        try:
            yield
        finally:
            self.context = None


def _alpn_context(identifier: str, key_authorization: str) -> ssl.SSLContext:
    """Return a context whose certificate has the digest of the key authorization (RFC 8737, 3)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = dt.datetime.now(dt.UTC)
    digest = hashlib.sha256(key_authorization.encode("ascii")).digest()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([general_name(identifier)]), critical=True)
        .add_extension(x509.UnrecognizedExtension(_IDENTIFIER, _OCTET_STRING_OF_32_BYTES + digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with in_memory(private + certificate.public_bytes(serialization.Encoding.PEM)) as path:
        context.load_cert_chain(path)
    context.set_alpn_protocols([ALPN])
    return context


def general_name(identifier: str) -> x509.GeneralName:
    """Return a name or an address as certificates have it."""
    with suppress(ValueError):
        return x509.IPAddress(ip_address(identifier))
    return x509.DNSName(identifier)
