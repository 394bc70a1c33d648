"""Where the application is served: HTTPS for everybody, a Unix socket for this machine's own commands."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from vpnkeys.api.certificates import CertificateReload, check_pair
from vpnkeys.api.trusted import Trusted
from vpnkeys.settings import Address, SettingsError
from vpnkeys.store.certificate import CertificateFiles

_GRACE_S = 1


def check_certificate(certificate: CertificateFiles) -> None:
    """Raises SettingsError when it cannot be served."""
    try:
        check_pair(certificate.cert, certificate.key)
    except (OSError, ValueError) as error:
        msg = (
            f"VPNKEYS_TLS_CERT, VPNKEYS_TLS_KEY: {certificate.cert} and {certificate.key} are not a certificate and "
            f"its key, in PEM and without a password: {error}"
        )
        raise SettingsError(msg) from error


def serve_until_asked(app: ASGIApp, listen: Address, certificate: CertificateFiles, admin_socket: Path) -> None:
    """Serve on both until SIGTERM or SIGINT; then end what is open, in order.

    Whoever can open `admin_socket`, which is the owner of this process and root, needs no API key there.
    """
    api = uvicorn.Server(
        _config(
            app,
            host=listen.host,
            port=listen.port,
            ssl_certfile=str(certificate.cert),
            ssl_keyfile=str(certificate.key),
        )
    )
    # The application starts and ends once, with the API: it is the same one.
    admin = _Beside(_config(Trusted(app), lifespan="off"))
    with (
        _private_socket(admin_socket) as listener,
        asyncio.Runner(loop_factory=api.config.get_loop_factory()) as runner,
    ):
        runner.run(_serve(api, admin, listener, certificate))


def _config(app: ASGIApp, **more: object) -> uvicorn.Config:
    common = {
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # whoever may set X-Forwarded-For may guess API keys under any address
        "timeout_graceful_shutdown": _GRACE_S,
        "loop": "uvloop",
        "http": "httptools",
    }
    return uvicorn.Config(app, **{**common, **more})  # type: ignore[arg-type]  # each of its own type


async def _serve(
    api: uvicorn.Server, admin: uvicorn.Server, listener: socket.socket, certificate: CertificateFiles
) -> None:
    renewal = CertificateReload(certificate.cert, certificate.key)
    api.config.load()
    beside = asyncio.create_task(admin.serve(sockets=[listener]))
    watch = asyncio.create_task(renewal.watch(api.config.ssl)) if api.config.ssl else None
    try:
        await api.serve()
    finally:
        admin.should_exit = True
        await beside
        if watch:
            watch.cancel()


class _Beside(uvicorn.Server):
    """Leaves the signals to the server that it stands beside."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing."""
        yield


@contextlib.contextmanager
def _private_socket(path: Path) -> Iterator[socket.socket]:
    """A Unix socket that only this user and root can open, removed at the end.

    What lies there is from a server that was killed: there is never a second one on the same data directory.
    """
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))  # in a directory with mode 0700, so that nobody is quicker than the next line
        path.chmod(0o600)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)
