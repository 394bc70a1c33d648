"""The public listener: TLS for everybody who fits in, and nobody else's connection the longer for it."""

import asyncio
import ctypes
import logging
import resource
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress

import uvicorn

from vpnkeys.server.connection import GuardedProtocol
from vpnkeys.server.connection_limits import MAX_CONNECTIONS, Connection, ConnectionLimiter, source_of
from vpnkeys.worker import AsyncWorker, Job

_log = logging.getLogger(__name__)

_HANDSHAKE_S = 10.0
_LOOK_EVERY_S = 1.0
_BREATH_S = 0.1
_JOB = Job(
    name="connections",
    failing="late connections could not be ended",
    every_s=_LOOK_EVERY_S,
    first_after_s=_LOOK_EVERY_S,
    back_off_s=(_LOOK_EVERY_S,),
    late_after_s=10.0,
)
_ACCEPT_AT_ONCE = 32
_KNOCKS = 80
_MOST_AT_THE_DOOR = 256
_TRIM_AFTER = 1_000

_BACKLOG = 2048
_RECEIVE_BUFFER_BYTES = 32 * 1024
"""What the kernel and then TLS may hold of one connection, about twice. No request is much larger."""

_WANTED_FILES = 65_536
_OWN_FILES = 512
"""For the database, Xray, its clients and this machine's own commands."""


def raise_file_limit() -> int:
    """Let this process open as many files as it may, to a sane bound; how many limiter that leaves room for.

    The bound is for hosts without a limit, where programs that go through all possible files would take minutes.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
    if soft == resource.RLIM_INFINITY or soft > allowed:
        allowed = _WANTED_FILES
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return min(MAX_CONNECTIONS, max(allowed // 2, allowed - _OWN_FILES))


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket that listens there. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Connections have these from their listener.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.settimeout(0)
    except OSError:
        listener.close()
        raise
    return listener


class TlsListener(uvicorn.Server):
    """uvicorn behind a gate of ours: it accepts nothing itself, so that no connection escapes the count."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, limiter: ConnectionLimiter) -> None:
        super().__init__(config)
        self._listener = listener
        self._guests = limiter
        self._greetings: set[asyncio.Task[None]] = set()
        self._at_the_door = 0
        self._trimmed_at = 0
        self.worker = AsyncWorker(_JOB, self._look_after)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Start the application, then open the gate."""
        await super().startup(sockets=[])
        if self.config.ssl is not None:
            self.config.ssl.options |= ssl.OP_NO_RENEGOTIATION
        self._loop = asyncio.get_running_loop()
        self._look = asyncio.create_task(self.worker.run())
        self._open()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the gate, then let uvicorn end what is open."""
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for task in (self._look, *self._greetings):
            task.cancel()
        await super().shutdown(sockets)

    def _accept(self) -> None:
        """Take in who waits; not all at once, so that those who are in get their turn as well."""
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # hung up before it was its turn
            except OSError as error:
                # Out of files or memory, as a whole machine: trying on would only take its processor too.
                _log.debug("accept: %s", error)
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_BREATH_S, self._open)
                return
            sock.settimeout(0)
            self._meet(sock, address)

    def _open(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _meet(self, sock: socket.socket, address: Sequence[object]) -> None:
        connection = Connection(source_of(str(address[0])))
        greeting = asyncio.create_task(self._greet(connection, sock))
        connection.hang_up = greeting.cancel
        self._greetings.add(greeting)
        greeting.add_done_callback(self._greetings.discard)

    async def _let_in(self, connection: Connection) -> bool:
        """Find a place, for which it may have to wait a little until somebody has his answer."""
        if self._guests.enter(connection, _HANDSHAKE_S):
            return True
        if self._at_the_door >= _MOST_AT_THE_DOOR:
            return False
        self._at_the_door += 1
        try:
            for _ in range(_KNOCKS):
                await asyncio.sleep(_BREATH_S)
                if self._guests.enter(connection, _HANDSHAKE_S):
                    return True
        finally:
            self._at_the_door -= 1
        return False

    async def _greet(self, connection: Connection, sock: socket.socket) -> None:
        """Bring a connection through its handshake; from then on the protocol looks after it."""
        if not await self._let_in(connection):
            sock.close()
            return

        def protocol() -> GuardedProtocol:
            return GuardedProtocol(
                connection,
                self._guests,
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
            )

        try:
            await self._loop.connect_accepted_socket(
                protocol, sock, ssl=self.config.ssl, ssl_handshake_timeout=_HANDSHAKE_S
            )
        except OSError:  # not TLS, hung up, or too slow
            self._guests.leave(connection)
        except asyncio.CancelledError:
            self._guests.leave(connection)
            raise

    async def _look_after(self) -> None:
        self._guests.hang_up_on_late()
        if self._guests.departed - self._trimmed_at >= _TRIM_AFTER:
            self._trimmed_at = self._guests.departed
            _trim()


def _trim() -> None:
    """Give back to the system what a crowd has left behind, in holes too small for the allocator to do so itself."""
    with suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
