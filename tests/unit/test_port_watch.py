"""What the kernel's sockets say of keys' ports: the repairer is woken, and a listener beside Xray is named."""

import os
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from tests.support.memory import World
from tests.support.ports import free_port

from vpnkeys.domain.plan import Listening
from vpnkeys.service.change.port_watch import PortWatch
from vpnkeys.worker import Job, Worker
from vpnkeys.xray.host.listening import XrayListening

CHILD = """
import socket, sys
server = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
server.bind((sys.argv[1], int(sys.argv[2])))
server.listen()
print("ready", flush=True)
sys.stdin.read()
"""


class CountingWorker(Worker):
    """Never runs, and counts its wakes."""

    wakes = 0

    def wake(self, *, at_once: bool = False) -> None:
        """One more."""
        self.wakes += 1


@dataclass
class Scene:
    """A server in memory, and another program on some ports."""

    world: World = field(default_factory=World)
    beside: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        """The repairer runs only when a test says so."""
        self.reconciler = self.world.keys.reconciler
        self.repairer = CountingWorker(Job("r", "", 1.0, (1.0,), 1.0), lambda: None)
        self.reconciler.worker = self.repairer
        self.watch = PortWatch(self.reconciler, self.listening)

    def listening(self, ports: Collection[int]) -> Listening:
        """What the fake Xray has."""
        own = {one.port for one in (self.world.node.running or {}).values() if one.port is not None}
        return Listening(frozenset(own.intersection(ports)), frozenset(own & self.beside))

    def looks(self, times: int) -> int:
        """How often the repairer was woken by them."""
        before = self.repairer.wakes
        for _ in range(times):
            self.watch.look()
        return self.repairer.wakes - before


def test_a_key_that_xray_has_lost_is_repaired_at_once() -> None:
    """Two looks, so that a change that is under way is none; while it stays lost it is not repaired at each look."""
    scene = Scene()
    key = scene.world.make()
    assert scene.looks(3) == 0
    assert scene.world.node.running is not None
    scene.world.node.running.pop(key.tag)
    assert scene.looks(1) == 0
    assert scene.looks(1) == 1
    assert scene.looks(4) == 2
    scene.reconciler.reconcile()
    assert scene.looks(3) == 0


def test_a_port_that_is_known_to_be_taken_wakes_nobody() -> None:
    """It is tried every five seconds anyway."""
    scene = Scene()
    key = scene.world.make()
    assert scene.world.node.running is not None
    scene.world.node.running.pop(key.tag)
    scene.world.node.occupied = {key.port}
    scene.reconciler.reconcile()
    assert scene.looks(4) == 0


def test_a_program_beside_xray_is_named_while_it_is_there() -> None:
    """From the second look on; the port of a key that is gone is forgotten."""
    scene = Scene()
    key = scene.world.make()
    scene.beside = {key.port}
    scene.looks(1)
    assert scene.reconciler.taken.all == frozenset()
    scene.looks(1)
    assert scene.reconciler.taken.all == {key.port}
    scene.beside = set()
    scene.looks(1)
    assert scene.reconciler.taken.all == frozenset()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test opens."""
    with ExitStack() as found:
        yield found


def listen(stack: ExitStack, address: str, port: int) -> None:
    """As Xray does, in this process."""
    server = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.bind((address, port))
    server.listen()


def listen_elsewhere(stack: ExitStack, address: str, port: int) -> None:
    """The same in another process."""
    arguments = [sys.executable, "-c", CHILD, address, str(port)]
    child = stack.enter_context(subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    stack.callback(child.kill)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"


@pytest.mark.parametrize(
    ("own", "other", "is_shared"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),  # noqa: S104 - what Xray does on a server
        ("0.0.0.0", "0.0.0.0", True),  # noqa: S104 - as above
        ("::", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "0.0.0.0", False),  # noqa: S104 - the address that is named gets them
        ("127.0.0.1", "::1", False),
    ],
)
def test_who_gets_the_connections(stack: ExitStack, own: str, other: str, *, is_shared: bool) -> None:
    """The kernel prefers the more exact address, and shares out between equal ones."""
    port = free_port()
    found = XrayListening(os.getpid)
    assert found.look({port}) == Listening(frozenset(), frozenset())
    listen(stack, own, port)
    assert found.look({port}) == Listening(frozenset({port}), frozenset())
    listen_elsewhere(stack, other, port)
    assert found.look({port}) == Listening(frozenset({port}), frozenset({port} if is_shared else ()))


def test_descriptors_that_cannot_be_read_are_no_word_of_another_program(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All sockets may be Xray's then."""

    def refuse(_pid: int) -> set[int]:
        raise PermissionError

    monkeypatch.setattr("vpnkeys.xray.host.sockets.socket_inodes", refuse)
    port = free_port()
    listen(stack, "127.0.0.1", port)
    listen_elsewhere(stack, "127.0.0.1", port)
    assert XrayListening(os.getpid).look({port}) == Listening(frozenset({port}), frozenset())
