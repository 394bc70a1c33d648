"""Two control planes on one database, a TCP balancer before them, and agents whose Xrays are in memory."""

from __future__ import annotations

import hashlib
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Self

from tests.fakes import FakeNode
from tests.support.memory import SITE, World
from tests.support.ports import free_port
from tests.support.process import PATIENCE_S
from tests.support.service import Service
from tests.support.target import RealityTarget
from vpnkeys.agent.following import Applied, Follower
from vpnkeys.agent.reporting import Stored
from vpnkeys.client import ApiError
from vpnkeys.client.agent import ControlPlane
from vpnkeys.service.change.late_calls import LateCalls
from vpnkeys.wire.agents import Joined, JoinRequest, Report

ALONE = ("-m", "vpnkeys", "serve", "--no-node")
API_KEY = "the-API-key-of-all-control-planes"
_REPORT_EVERY_S = 2.0


def control_plane(
    target: RealityTarget, database: str, certificate: tuple[Path, Path], timeout: float = PATIENCE_S
) -> Service:
    """One of several control planes on a database: with the certificate and the API key that all have."""
    cert, key = map(str, certificate)
    settings = {
        "VPNKEYS_DATABASE_URL": database,
        "VPNKEYS_API_KEY": API_KEY,
        "VPNKEYS_TLS_CERT": cert,
        "VPNKEYS_TLS_KEY": key,
        "VPNKEYS_XRAY_BIN": "/nowhere/xray",
    }
    plane = Service(target, settings=settings, timeout=timeout)
    plane.api_key, plane.command = API_KEY, ALONE
    return plane


def fingerprint_of(certificate: Path) -> str:
    """The SHA-256 of a certificate, as clients pin it."""
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text().partition("-----END")[0] + "-----END CERTIFICATE-----\n")
    return hashlib.sha256(der).hexdigest()


class Balancer:
    """Passes connections on to whichever of several servers takes them, in turn, and looks at nothing in them."""

    def __init__(self, servers: Sequence[tuple[str, int]], host: str = "127.0.0.1") -> None:
        """Listen on a port of its own."""
        self._servers, self._turn = servers, cycle(range(len(servers)))
        self.address = (host, free_port())
        self._listener = socket.create_server(self.address)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """What clients know."""
        return f"https://{self.address[0]}:{self.address[1]}"

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        first = next(self._turn)
        with client:
            for number in range(len(self._servers)):
                with suppress(OSError):
                    server = socket.create_connection(self._servers[(first + number) % len(self._servers)], 2)
                    with server:
                        _pump(client, server)
                    return

    def __enter__(self) -> Self:
        """It listens already."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Listen no more."""
        self._listener.close()


def _pump(client: socket.socket, server: socket.socket) -> None:
    """Copy both ways until either side ends."""
    server.settimeout(None)
    others = {client: server, server: client}
    with selectors.DefaultSelector() as ready:
        for one in others:
            ready.register(one, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                source = next(one for one in others if one is key.fileobj)
                data = source.recv(65536)
                if not data:
                    return
                others[source].sendall(data)


@dataclass(slots=True)
class SimulatedAgent:
    """An agent as the real one, by real HTTPS, whose keys and Xray are in memory."""

    url: str
    fingerprint: str
    ports: str
    plane: ControlPlane = field(init=False)
    joined: Joined = field(init=False)
    world: World = field(default_factory=lambda: World(node=FakeNode(names=frozenset(SITE.server_names))))
    applied: Applied = field(default_factory=Applied, init=False)
    surprises: list[Exception] = field(default_factory=list, init=False)
    works: threading.Event = field(default_factory=threading.Event, init=False)
    """While it is clear, the agent applies nothing that it is told."""
    _stored: Stored = field(default_factory=Stored, init=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False)
    _woken: threading.Event = field(default_factory=threading.Event, init=False)

    def join(self, token: str) -> None:
        """Become a node, and follow."""
        self.works.set()
        self.world.keys.reconciler.late_calls = LateCalls(is_child=True)
        first = ControlPlane(self.url, token, self.fingerprint)
        asked = JoinRequest(token=token, public_key="K" * 43, address="node.example", port_range=self.ports)
        self.joined = first.join(asked)
        first.close()
        self.plane = ControlPlane(self.url, self.joined.token, self.fingerprint)
        for step in (self._follow, self._report):
            threading.Thread(target=self._repeat, args=(step,), daemon=True).start()

    def ids(self) -> set[str]:
        """The keys that the node has."""
        return {key.id for key in self.world.keys.list()}

    def stop(self) -> None:
        """Ask nothing more."""
        self._ended.set()
        self._woken.set()
        self.works.set()
        self.plane.close()

    def _repeat(self, step: Callable[[], None]) -> None:
        while not self._ended.is_set():
            try:
                step()
            except ApiError:
                time.sleep(0.2)
            except Exception as error:  # noqa: BLE001 - shown by the test
                if not self._ended.is_set():
                    self.surprises.append(error)
                time.sleep(0.2)

    def _follow(self) -> None:
        wanted = self.plane.desired(self.applied.rev, self.applied.ticket or "none")
        self.works.wait()
        if wanted is None:
            return
        if wanted.rev == self.applied.rev:  # no keys, and another ticket
            self.applied = replace(self.applied, ticket=wanted.ticket)
        else:
            self.applied = Follower(self.world.keys).apply(wanted)
        self._woken.set()

    def _report(self) -> None:
        self._woken.wait(_REPORT_EVERY_S)
        self._woken.clear()
        applied = self.applied
        for part in self._stored.news_in(self.world.store.lives()):
            report = Report(
                rev=applied.rev,
                ticket=applied.ticket or "none",
                failed=applied.failed,
                now=datetime.now(UTC).replace(tzinfo=None),
                lives=part,
                names=tuple(SITE.server_names),
                version="simulated",
            )
            self.plane.report(report)
            self._stored.note(part)
