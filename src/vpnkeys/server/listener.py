"""The public TLS listener: accepts connections, counts them before their handshake, and hands them to uvicorn."""

import asyncio
import ctypes
import errno
import logging
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

import uvicorn

from vpnkeys.domain.limits.source import source_of
from vpnkeys.domain.reached import is_proxy
from vpnkeys.server.beside import Beside
from vpnkeys.server.connection import GuardedProtocol
from vpnkeys.server.connection_limits import Connection, ConnectionLimiter
from vpnkeys.server.ending import EndingServer
from vpnkeys.server.opening import first_bytes, is_authority, is_plain_http, redirect
from vpnkeys.worker import AsyncWorker, Job

_log = logging.getLogger(__name__)

_HANDSHAKE_S = 10.0
_LOOK_EVERY_S = 1.0
_RETRY_S = 0.1
_JOB = Job(
    name="connections",
    failing="late connections could not be ended",
    every_s=_LOOK_EVERY_S,
    first_after_s=_LOOK_EVERY_S,
    back_off_s=(_LOOK_EVERY_S,),
    late_after_s=10.0,
)
_ACCEPT_AT_ONCE = 32
# A connection without room asks again this often: 80 times 0.1 s is longer than the limiter's grace time of 4 s.
_ADMISSION_TRIES = 80
_MAX_QUEUED = 256
# After this many ended connections, memory is given back: 14 to 75 ms, measured in docs/adr/0010-connections.md.
_TRIM_AFTER = 1_000

# The kernel uses the smaller of this and net.core.somaxconn (listen(2)).
_BACKLOG = 2048
_RECEIVE_BUFFER_BYTES = 32 * 1024
"""SO_RCVBUF of a connection, which the kernel doubles (socket(7)). A request's head and body fit into it."""

_EVERY_IPV4, _EVERY_IPV6 = "0.0.0.0", "::"  # noqa: S104 - the contract's default
_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
"""The errors of a host whose kernel has no IPv6, or has it switched off."""

_WANTED_FILES = 65_536
_OWN_FILES = 512
"""Descriptors that are kept free for the database, Xray's API, test clients and the Unix socket."""


def raise_file_limit() -> int:
    """Raise the soft limit on open files (RLIMIT_NOFILE); return how many connections there is room for.

    The limit is set to 65,536 at most: some programs close every possible descriptor when they start, which takes
    minutes where the limit is a billion.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
    if soft == resource.RLIM_INFINITY or soft > allowed:
        allowed = _WANTED_FILES
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(allowed // 2, allowed - _OWN_FILES)


def bind(host: str, port: int) -> list[socket.socket]:
    """Return non-blocking TCP sockets that listen on the address; for "::" one each for IPv4 and IPv6. Raises OSError.

    Two, because one for both would show IPv4 clients by mapped addresses, in which no limit and no log has them.
    """
    if host != _EVERY_IPV6:
        return [_bind(host, port)]
    both = [_bind(_EVERY_IPV4, port)]
    try:
        both.append(_bind(_EVERY_IPV6, port))
    except OSError as error:
        if error.errno not in _NO_IPV6:
            both[0].close()
            raise
    return both


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Without this "::" also takes the IPv4 port (ipv6(7)).
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Accepted sockets inherit these. SO_RCVBUF must be set before listen() (tcp(7)).
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.settimeout(0)
    except OSError:
        listener.close()
        raise
    return listener


class TlsListener(EndingServer):
    """A uvicorn server that accepts its connections itself: uvicorn and uvloop report one only after its handshake."""

    def __init__(
        self, config: uvicorn.Config, listeners: Sequence[socket.socket], limiter: ConnectionLimiter, beside: Beside
    ) -> None:
        super().__init__(config, beside.on_ending)
        self._listeners = listeners
        self._limiter = limiter
        self._beside = beside
        self._handshakes: set[asyncio.Task[None]] = set()
        self._queued = 0
        self._trimmed_at = 0
        self.worker = AsyncWorker(_JOB, self._end_late)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Start the application, then accept connections."""
        await super().startup(sockets=[])
        if self.config.ssl is not None:
            # TLS 1.2 lets a client ask for new handshakes on one connection, each at the price of a first one.
            self.config.ssl.options |= ssl.OP_NO_RENEGOTIATION
        self._loop = asyncio.get_running_loop()
        self._worker_task = asyncio.create_task(self.worker.run())
        self._resume_accepting()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, then end the open connections."""
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        for task in (self._worker_task, *self._handshakes):
            task.cancel()
        await super().shutdown(sockets)

    def _accept(self, listener: socket.socket) -> None:
        """Accept up to 32 connections, then return to the event loop, so that open ones are served meanwhile."""
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # reset by the client before accept (ECONNABORTED)
            except OSError as error:
                # Out of descriptors or memory. The socket stays readable, and the loop would spin on it.
                _log.debug("accept: %s", error)
                self._loop.remove_reader(listener)
                self._loop.call_later(_RETRY_S, self._resume_accepting)
                return
            sock.settimeout(0)
            self._start_handshake(sock, address)

    def _resume_accepting(self) -> None:
        for listener in self._listeners:
            if listener.fileno() >= 0:
                self._loop.add_reader(listener, self._accept, listener)

    def _start_handshake(self, sock: socket.socket, address: Sequence[object]) -> None:
        # A task from before the handshake on: `hang_up` can cancel it at any moment until the protocol takes over.
        host = str(address[0])
        # All clients of a proxy in front have its address, so each of its connections counts as a source of its own.
        source = f"{host} {address[1]}" if is_proxy(host, self._beside.proxies) else source_of(host)
        connection = Connection(source)
        handshake = asyncio.create_task(self._handshake(connection, sock))
        connection.hang_up = handshake.cancel
        self._handshakes.add(handshake)
        handshake.add_done_callback(self._handshakes.discard)

    async def _admit(self, connection: Connection) -> bool:
        """Return whether the limiter admits the connection, within eight seconds."""
        if self._limiter.enter(connection, _HANDSHAKE_S):
            return True
        if self._queued >= _MAX_QUEUED:
            return False
        self._queued += 1
        try:
            for _ in range(_ADMISSION_TRIES):
                await asyncio.sleep(_RETRY_S)
                if self._limiter.enter(connection, _HANDSHAKE_S):
                    return True
        finally:
            self._queued -= 1
        return False

    async def _handshake(self, connection: Connection, sock: socket.socket) -> None:
        """Do the TLS handshake of one connection; from then on its protocol reports its stages to the limiter."""
        if not await self._admit(connection):
            sock.close()
            return

        try:
            await self._greet(connection, sock)
        except OSError:  # not TLS, hung up, or too slow
            self._limiter.leave(connection)
        except asyncio.CancelledError:
            self._limiter.leave(connection)
            raise

    async def _greet(self, connection: Connection, sock: socket.socket) -> None:
        """Do the handshake that the client's first bytes ask for. Raises OSError."""
        challenge = self._beside.challenge()
        seen = await self._look(sock, all_of_hello=challenge is not None)
        if challenge is not None and is_authority(seen):
            # The handshake is the answer; then both sides hang up.
            transport, _ = await self._shake_hands(asyncio.Protocol, sock, challenge)
            transport.close()
            self._limiter.leave(connection)
            return

        def protocol() -> GuardedProtocol:
            return GuardedProtocol(
                connection,
                self._limiter,
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
            )

        await self._shake_hands(protocol, sock, self.config.ssl)

    async def _look(self, sock: socket.socket, *, all_of_hello: bool) -> bytes:
        """Return the client's first bytes, left in the socket. Plain HTTP is answered here, and raises OSError."""
        try:
            seen = await first_bytes(self._loop, sock, all_of_hello=all_of_hello)
            if not is_plain_http(seen):
                return seen
            await redirect(self._loop, sock)
            raise ConnectionAbortedError("answered without TLS")
        except (OSError, asyncio.CancelledError):
            sock.close()  # no transport has it yet
            raise

    async def _shake_hands(
        self, protocol: Callable[[], asyncio.BaseProtocol], sock: socket.socket, context: ssl.SSLContext | None
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        return await self._loop.connect_accepted_socket(protocol, sock, ssl=context, ssl_handshake_timeout=_HANDSHAKE_S)

    async def _end_late(self) -> None:
        self._limiter.hang_up_on_late()
        if self._limiter.departed - self._trimmed_at >= _TRIM_AFTER:
            self._trimmed_at = self._limiter.departed
            _trim()


def _trim() -> None:
    """Return freed memory to the system: glibc keeps what many closed connections leave (malloc_trim(3))."""
    with suppress(OSError, AttributeError):  # other C libraries, such as musl, do not have it
        ctypes.CDLL(None).malloc_trim(0)
