"""Defines what the HTTP server needs of the rest of the program."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vpnkeys.domain.reached import Network
from vpnkeys.worker import Workers


@dataclass(frozen=True, slots=True)
class Beside:
    """What runs in the application's event loop beside it, and what the listener asks.

    `while_serving` runs from when the server listens until it ends. `workers` receives the server's own workers, for
    their status. `on_ending` is called when the server is asked to end, before it waits for requests that have begun.
    `challenge` returns the context for handshakes of an authority that checks this server now, or None. `proxies` are
    the networks of proxies in front, whose X-Forwarded-For counts. `nodes_elsewhere` says of how many nodes agents ask.
    """

    while_serving: Callable[[], Awaitable[None]]
    workers: Workers
    on_ending: Callable[[], None]
    challenge: Callable[[], ssl.SSLContext | None] = lambda: None
    proxies: tuple[Network, ...] = ()
    nodes_elsewhere: Callable[[], int] = lambda: 0
