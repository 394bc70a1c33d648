"""A request that waits for its answer for long, on a connection that may have died without a sign."""

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from vpnkeys.client._calls import Call
from vpnkeys.client._client import Client

A = TypeVar("A")

_GRACE_S = 0.3
# While nothing is said, the kernel asks the other side: after so many seconds, then every so many, so often. Routers on
# the way do not forget the connection meanwhile.
_SIGNS = {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What waits: it asked for anything but this."""

    rev: str


class Waiting:
    """Sends requests that wait, one at a time, each of which another thread may end."""

    def __init__(self, client: Client) -> None:
        """Use a client of its own, as only the newest connection is known."""
        self._client = client
        self._asked: _Asked | None = None
        self._socket: socket.socket | None = None

    def send(self, call: Call[A], rev: str) -> A:
        """Send a request that asks for anything but `rev`, and return its answer. Raises ApiError."""
        self._asked = _Asked(rev)
        try:
            # httpcore's trace is the only way to a connection before there is an answer.
            options = {**call.options, "extensions": {"trace": self._note}}
            return self._client.send(replace(call, options=options))
        finally:
            self._asked = None

    def doubt(self, rev: str) -> None:
        """End a request that goes on waiting, though the other side has had this for it: its answer got lost.

        That one was sent at the same time as what says so, hence the moment of grace.
        """
        asked = self._asked
        if asked is None or asked.rev == rev:
            return
        time.sleep(_GRACE_S)
        if self._asked is asked and self._socket is not None:
            with suppress(OSError):
                # Closing would not end a read in another thread. The base class's: no farewell of TLS has to be sent.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _note(self, event: str, info: Mapping[str, Any]) -> None:
        if not event.endswith(("connect_tcp.complete", "start_tls.complete")):
            return
        self._socket = info["return_value"].get_extra_info("socket")
        if self._socket is not None and event.endswith("connect_tcp.complete"):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _SIGNS.items():
                self._socket.setsockopt(socket.IPPROTO_TCP, option, value)
