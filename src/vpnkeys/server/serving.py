"""Serves the application on HTTPS, and on a Unix socket for commands on this machine."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from vpnkeys.domain.forms.vless import host_in_url
from vpnkeys.domain.reached import Address
from vpnkeys.rundir import ensure_run_dir, memory_dir
from vpnkeys.server.beside import Beside
from vpnkeys.server.certificates import CertificateReload
from vpnkeys.server.connection_limits import MAX_CONNECTIONS, ConnectionLimiter
from vpnkeys.server.ending import EndingServer
from vpnkeys.server.listener import TlsListener, bind, raise_file_limit
from vpnkeys.server.trusted import Forwarded, Trusted
from vpnkeys.settings import ENVIRONMENT, SettingsError
from vpnkeys.store.files.certificate import CertificateFiles, renew
from vpnkeys.worker import AsyncWorker, Job
from vpnkeys.xray.host.listeners import listeners

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.05
_ADMIN_JOB = Job(
    name="admin_socket",
    failing="the socket for commands on this machine could not be made again",
    every_s=2.0,
    first_after_s=2.0,
    back_off_s=(2.0, 10.0, 60.0),
    late_after_s=30.0,
    expected=(OSError,),
)


def public_sockets(listen: Address) -> list[socket.socket]:
    """Return the sockets that listen on the API's address. Raises SettingsError."""
    try:
        return bind(*listen)
    except OSError as error:
        who = ", ".join(sorted(map(str, listeners().get(listen.port, ()))))
        msg = f"VPNKEYS_LISTEN: {host_in_url(listen.host)}:{listen.port}: {error.strerror}{who and f', by {who}'}"
        raise SettingsError(msg) from error


def serve_until_asked(
    app: ASGIApp, public: Sequence[socket.socket], certificate: CertificateFiles, admin_socket: Path, beside: Beside
) -> None:
    """Serve on both until SIGTERM or SIGINT; then end as `EndingServer` does.

    Requests on `admin_socket` need no API key: only this process's user and root can open it.
    """
    room = raise_file_limit()
    limiter = ConnectionLimiter(min(MAX_CONNECTIONS, room), nodes=beside.nodes_elsewhere, most=room)
    config = _config(
        # Only from these; from anybody else a forged X-Forwarded-For would evade the limit on wrong API keys.
        Forwarded(app, beside.proxies) if beside.proxies else app,
        ssl_certfile=str(certificate.cert),
        ssl_keyfile=str(certificate.key),
    )
    # One application on two listeners: only the API's server runs its lifespan, or it would start twice.
    admin = _Admin(_config(Trusted(app), lifespan="off"), admin_socket)

    def end_both() -> None:
        beside.on_ending()
        admin.ask_to_end()

    api = TlsListener(config, public, limiter, replace(beside, on_ending=end_both))
    with admin, asyncio.Runner(loop_factory=api.config.get_loop_factory()) as runner:
        runner.run(_serve(api, admin, certificate, beside))


def _config(app: ASGIApp, **more: object) -> uvicorn.Config:
    common = {
        "log_level": "error",  # its warnings are about malformed requests, with which anybody could fill the disk
        "log_config": None,  # else uvicorn installs handlers of its own
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "loop": "uvloop",
        "http": "httptools",
        "ws": "none",
    }
    return uvicorn.Config(app, **{**common, **more})  # type: ignore[arg-type]  # each of its own type


async def _serve(
    api: TlsListener,
    admin: "_Admin",
    certificate: CertificateFiles,
    beside: Beside,
) -> None:
    renewal = CertificateReload(certificate.cert, certificate.key, lambda: renew(certificate))
    api.config.load()
    reload = renewal.worker(api.config.ssl) if api.config.ssl else None
    workers = [admin.worker, *([reload] if reload else [])]
    beside.workers.introduce(api.worker, *workers)
    serving_admin = asyncio.create_task(admin.serve(sockets=[admin.listener]))
    watches = [asyncio.create_task(worker.run()) for worker in workers]
    accompanying = asyncio.create_task(_once_started(api, beside.while_serving))
    try:
        await api.serve()
    finally:
        admin.ask_to_end()
        for task in (accompanying, *watches):
            task.cancel()
        await serving_admin


async def _once_started(api: uvicorn.Server, then: Callable[[], Awaitable[None]]) -> None:
    while not api.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(_LOOK_EVERY_S)
    await then()


class _Admin(EndingServer):
    """The server of the Unix socket: it handles no signals, and ends when the API's server asks it to.

    Only this user and root can open the socket, whose file is removed at the end of the `with`. The answers on it have
    no Date, for which the other server wakes once a second.
    """

    def __init__(self, config: uvicorn.Config, path: Path) -> None:
        super().__init__(config)
        self.worker = AsyncWorker(_ADMIN_JOB, self._look)
        self.listener = _private_socket(path)
        self._path = path
        self._made = _inode(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        self._path.unlink(missing_ok=True)

    async def main_loop(self) -> None:
        """Wait until `ask_to_end`."""
        await self._asked.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signal handlers to the API's server."""
        yield

    async def _look(self) -> None:
        """Listen again when the socket's file is gone, as with all of `run/`: else no command reaches this server."""
        if not self.started or _inode(self._path) == self._made:
            return
        ensure_run_dir(self._path.parent, memory_dir(ENVIRONMENT))
        self.listener = _private_socket(self._path)
        self._made = _inode(self._path)
        for server in self.servers:
            server.close()  # its open connections go on
        await self.startup([self.listener])
        _log.warning("%s was gone, and is there again", self._path)


def _private_socket(path: Path) -> socket.socket:
    """Return a Unix socket at a path that only this user and root can open. Raises OSError."""
    # A file that is there was left by a killed server: the data directory's lock allows only one.
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))  # its directory has mode 0700, so no other user can connect before the chmod
        path.chmod(0o600)
    except OSError:
        listener.close()
        raise
    return listener


def _inode(path: Path) -> tuple[int, int] | None:
    """Return which file is at a path, links followed; None where there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino
