"""Where the application is served: HTTPS for everybody, a Unix socket for this machine's own commands."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import typer
import uvicorn
from starlette.types import ASGIApp

from vpnkeys.server.certificates import CertificateReload, check_pair
from vpnkeys.server.connection_limits import ConnectionLimiter
from vpnkeys.server.listener import TlsListener, bind, raise_file_limit
from vpnkeys.server.trusted import Trusted
from vpnkeys.settings import Address, SettingsError
from vpnkeys.store.files.certificate import CertificateFiles, renew
from vpnkeys.worker import Workers

_GRACE_S = 1
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Beside:
    """What else runs in the event loop of the application.

    `while_serving` does from when it listens until it ends; `workers` gets to know the workers that serving needs.
    """

    while_serving: Callable[[], Awaitable[None]]
    workers: Workers


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


def serve_until_asked(
    app: ASGIApp, listen: Address, certificate: CertificateFiles, admin_socket: Path, beside: Beside
) -> None:
    """Serve on both until SIGTERM or SIGINT; then end what is open, in order.

    Whoever can open `admin_socket`, which is the owner of this process and root, needs no API key there.
    """
    limiter = ConnectionLimiter(total=raise_file_limit())
    config = _config(app, ssl_certfile=str(certificate.cert), ssl_keyfile=str(certificate.key))
    api = TlsListener(config, _public_socket(listen), limiter)
    # The application starts and ends once, with the API: it is the same one.
    admin = _Admin(_config(Trusted(app), lifespan="off"))
    with (
        _private_socket(admin_socket) as listener,
        asyncio.Runner(loop_factory=api.config.get_loop_factory()) as runner,
    ):
        runner.run(_serve(api, admin, listener, certificate, beside))


def _config(app: ASGIApp, **more: object) -> uvicorn.Config:
    common = {
        "log_level": "error",  # what it warns of is what somebody sent: nobody shall fill the disk with that
        "log_config": None,  # its loggers go where all others go
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # whoever may set X-Forwarded-For may guess API keys under any address
        "timeout_graceful_shutdown": _GRACE_S,
        "loop": "uvloop",
        "http": "httptools",
        "ws": "none",
    }
    return uvicorn.Config(app, **{**common, **more})  # type: ignore[arg-type]  # each of its own type


async def _serve(
    api: TlsListener,
    admin: "_Admin",
    listener: socket.socket,
    certificate: CertificateFiles,
    beside: Beside,
) -> None:
    renewal = CertificateReload(certificate.cert, certificate.key, lambda: renew(certificate))
    api.config.load()
    reload = renewal.worker(api.config.ssl) if api.config.ssl else None
    beside.workers.introduce(api.worker, *([reload] if reload else []))
    serving_admin = asyncio.create_task(admin.serve(sockets=[listener]))
    watch = asyncio.create_task(reload.run()) if reload else None
    accompanying = asyncio.create_task(_once_started(api, beside.while_serving))
    try:
        await api.serve()
    finally:
        admin.ask_to_end()
        accompanying.cancel()
        await serving_admin
        if watch:
            watch.cancel()


async def _once_started(api: uvicorn.Server, then: Callable[[], Awaitable[None]]) -> None:
    while not api.started:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(_LOOK_EVERY_S)
    await then()


class _Admin(uvicorn.Server):
    """Leaves the signals to the server that it stands beside, and sleeps until that one ends.

    uvicorn wakes ten times a second for the Date of its answers, which is half of what an idle server does. Nobody on
    this machine needs to be told the time.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._asked = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait to be asked to end."""
        await self._asked.wait()

    def ask_to_end(self) -> None:
        """Let `serve` come to its end."""
        self.should_exit = True
        self._asked.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing."""
        yield


def _public_socket(listen: Address) -> socket.socket:
    try:
        return bind(*listen)
    except OSError as error:
        typer.echo(f"vpnkeys cannot start:\nVPNKEYS_LISTEN: {listen.host}:{listen.port}: {error.strerror}", err=True)
        raise typer.Exit(2) from error


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
