"""What every Node and its Host promise: the one in memory, and a real Xray on this host."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import pytest
from tests.fakes import Connection, FakeNode
from tests.support.binaries import xray_binary
from tests.support.ports import release_range, reserve_range
from tests.support.process import wait_until
from tests.unit.test_config import inbound_of

from vpnkeys.domain.errors import ConfigUnwritable, XrayRefused, XrayUnavailable
from vpnkeys.domain.inbound import Inbound, ServerIdentity, VlessClient
from vpnkeys.domain.plan import FileState, Plan, plan
from vpnkeys.domain.portpool import PortRange
from vpnkeys.interfaces import Host, Node
from vpnkeys.xray.config.check import xray_checker
from vpnkeys.xray.config.document import BaseConfig
from vpnkeys.xray.config.file import ConfigFile
from vpnkeys.xray.config.start import StartFile
from vpnkeys.xray.host.sockets import can_cut
from vpnkeys.xray.host.speed import SpeedLimiter
from vpnkeys.xray.node import LocalNode
from vpnkeys.xray.probe.kernel import Probes
from vpnkeys.xray.probe.server_names import ServerNameProber
from vpnkeys.xray.probe.targets import TargetWatch
from vpnkeys.xray.process.child import XrayCommand, XrayProcess
from vpnkeys.xray.rpc.control import XrayControl
from vpnkeys.xray.rpc.counters import XrayCounters

IsOpen = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class World:
    """A node, and hands to move what is around it. `connect` opens a connection to a port, from an address."""

    node: Node
    host: Host
    ports: range
    target: str
    connect: Callable[..., IsOpen]
    start: Callable[[], None]
    kill: Callable[[], None]
    make_unwritable: Callable[[], None]
    occupy: Callable[[int], None]

    def inbound(self, index: int) -> Inbound:
        """One of a few inbounds."""
        plain = inbound_of(self.ports[index])
        reality = replace(plain.reality, target=self.target)
        clients = (replace(plain.clients[0], email=f"key-{index}"),)
        return replace(plain, tag=f"key-{index}", clients=clients, reality=reality)

    def bring_to(self, *wanted: Inbound) -> Plan:
        """Plan and apply; what was done."""
        todo = plan(wanted, self.node.observe())
        self.node.apply(todo)
        return todo


def fake_world(ports: range, target: str) -> World:
    """In memory."""
    node = FakeNode()

    def connect(port: int, address: str = "127.0.0.1") -> IsOpen:
        connection = Connection("somebody", port, address=address)
        node.connections.append(connection)
        return lambda: connection.is_open

    def make_unwritable() -> None:
        node.writable = False

    return World(node, node, ports, target, connect, node.start_xray, node.end_xray, make_unwritable, node.occupied.add)


@contextmanager
def real_world(directory: Path, ports: range, target: str) -> Iterator[World]:
    """A real Xray."""
    api, xray = directory / "api.sock", xray_binary()
    place = directory / "config"
    place.mkdir()
    file = ConfigFile(place / "config.json", BaseConfig(str(api), PortRange(ports[0], ports[-1])), xray_checker(xray))
    site = ServerIdentity("127.0.0.1", "A" * 43, str(directory), ("a.example",))
    control = XrayControl(api)
    start_file = StartFile(file.path, lambda _document: file.base, file.check, lambda _why: None)
    command = XrayCommand(xray, start_file.choose, (api,), {})
    process = XrayProcess(command, on_up=lambda _: None, on_down=lambda: None)
    prober = ServerNameProber(xray, {}, lambda: site, Probes(XrayCounters(api).pid, lambda _: None))
    targets = TargetWatch(None, lambda: site, in_use=tuple, on_better=lambda: None)
    speed = SpeedLimiter(f"vpnkeys_test_{ports[0]}_speed")
    node = LocalNode(file, control, prober, targets, api, process.restart, speed, lambda: False)
    with ExitStack() as stack:
        stack.callback(node.close)
        stack.callback(process.stop)
        stack.callback(speed.remove)

        def start() -> None:
            process.start()
            # The client of its API may still rest after an attempt that came too early.
            assert wait_until(lambda: node.observe().running is not None), process.last_words()

        def connect(port: int, address: str = "127.0.0.1") -> IsOpen:
            connection = socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(address, 0))
            customer = stack.enter_context(connection)
            customer.setblocking(False)
            return lambda: _is_open(customer)

        def occupy(port: int) -> None:
            stack.enter_context(socket.create_server(("127.0.0.1", port)))

        def make_unwritable() -> None:
            # A file in the place of its directory: root may write anywhere else.
            place.rename(directory / "before")
            place.touch()

        yield World(node, node, ports, target, connect, start, process.stop, make_unwritable, occupy)


def _is_open(customer: socket.socket) -> bool:
    try:
        return customer.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


@pytest.fixture
def ports() -> Iterator[range]:
    """Ports of the pool."""
    found = reserve_range(4)
    yield found
    release_range(found)


@pytest.fixture
def target() -> Iterator[str]:
    """A target that says nothing, so that an inbound keeps waiting for its customer's first words."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        yield f"127.0.0.1:{silent.getsockname()[1]}"


@pytest.fixture(params=["fake", pytest.param("xray", marks=pytest.mark.e2e)])
def world(request: pytest.FixtureRequest, tmp_path: Path, ports: range, target: str) -> Iterator[World]:
    """Each kind of node, with nothing on it."""
    if request.param == "fake":
        yield fake_world(ports, target)
    else:
        with real_world(tmp_path, ports, target) as found:
            yield found


@pytest.fixture
def running(world: World) -> World:
    """One whose Xray runs, with an empty file."""
    world.node.apply(Plan(file=()))
    world.start()
    return world


def test_while_xray_is_down_the_file_is_looked_after(world: World) -> None:
    """It is read and written; whatever needs the running Xray says that it is not there."""
    assert world.node.observe().file.state is FileState.MISSING
    assert world.node.observe().running is None
    assert not world.node.is_up()
    world.bring_to(world.inbound(0))
    assert world.node.observe().file.inbounds == {"key-0": world.inbound(0)}
    with pytest.raises(XrayUnavailable):
        world.node.sample()
    with pytest.raises(XrayUnavailable):
        world.node.epoch()
    with pytest.raises(XrayUnavailable):
        world.node.apply(Plan(add=(world.inbound(1),)))


def test_xray_starts_with_the_file(world: World) -> None:
    """What was written while it was down runs when it is up."""
    world.bring_to(world.inbound(0), world.inbound(1))
    world.start()
    observed = world.node.observe()
    assert observed.running is not None
    assert observed.running.inbounds == {"key-0": world.inbound(0), "key-1": world.inbound(1)}
    assert not plan((world.inbound(0), world.inbound(1)), observed)


def test_an_applied_plan_needs_no_other(running: World) -> None:
    """Added, replaced, removed: each time what is observed is what was wanted, and applying again is harmless."""
    other = replace(running.inbound(0), clients=(replace(running.inbound(0).clients[0], flow="xtls-rprx-vision"),))
    for wanted in ((running.inbound(0), running.inbound(1)), (other, running.inbound(2)), ()):
        todo = running.bring_to(*wanted)
        assert not plan(wanted, running.node.observe())
        running.node.apply(todo)
        assert not plan(wanted, running.node.observe())


def test_a_listening_port_is_not_free(running: World) -> None:
    """Neither one of ours nor one of another program, as long as it listens."""
    running.bring_to(running.inbound(0))
    running.occupy(running.ports[1])
    assert [running.host.is_free(port) for port in running.ports] == [False, False, True, True]
    running.bring_to()
    assert running.host.is_free(running.ports[0])


@pytest.mark.skipif(not can_cut(), reason="cutting needs CAP_NET_ADMIN")
def test_a_cut_ends_one_ports_connections(running: World) -> None:
    """Removing alone leaves them; the cut ends them, and nobody else's."""
    running.bring_to(running.inbound(0), running.inbound(1))
    ended, kept = running.connect(running.ports[0]), running.connect(running.ports[1])
    running.node.apply(Plan(remove=("key-0",)))
    assert ended()
    assert kept()
    running.node.apply(Plan(cut=(running.ports[0],)))
    assert not ended()
    assert kept()


@pytest.mark.skipif(not can_cut(), reason="cutting needs CAP_NET_ADMIN")
def test_a_device_is_cut_alone(running: World) -> None:
    """Connections from one address to one port end; those from another address, and to another port, go on."""
    running.bring_to(running.inbound(0), running.inbound(1))
    ended = [running.connect(running.ports[0], "127.0.0.3") for _ in range(2)]
    kept = [running.connect(running.ports[0], "127.0.0.2"), running.connect(running.ports[1], "127.0.0.3")]
    running.host.cut_device(running.ports[0], "127.0.0.3")
    assert [is_open() for is_open in (*ended, *kept)] == [False, False, True, True]
    running.host.cut_device(running.ports[0], "2001:db8::1")
    assert [is_open() for is_open in kept] == [True, True]


def test_silence_is_told_by_source(running: World) -> None:
    """Of all who hold connections to the port, and of nobody else."""
    running.bring_to(running.inbound(0), running.inbound(1))
    running.connect(running.ports[0], "127.0.0.2")
    running.connect(running.ports[0], "127.0.0.3")
    running.connect(running.ports[1], "127.0.0.4")
    silent = running.host.silent_for(running.ports[0])
    assert {"127.0.0.2", "127.0.0.3"} <= silent.keys()
    assert "127.0.0.4" not in silent
    assert all(0 <= seconds < 60 for seconds in silent.values())


def test_who_never_got_in_is_not_online(running: World) -> None:
    """A connection alone is nobody; each key that was asked for is answered, and no other."""
    running.bring_to(running.inbound(0))
    running.connect(running.ports[0], "127.0.0.2")
    assert running.node.addresses_online([]) == {}
    assert running.node.addresses_online(["one", "other"]) == {"one": (), "other": ()}


def test_what_xray_refuses_keeps_nobody_out(running: World) -> None:
    """A port that another program took: the others are added, and the refusal is told."""
    running.occupy(running.ports[0])
    with pytest.raises(XrayRefused):
        running.bring_to(running.inbound(0), running.inbound(1))
    observed = running.node.observe()
    assert observed.running is not None
    assert set(observed.running.inbounds) == {"key-1"}


def test_an_unwritable_file_stops_everything(running: World) -> None:
    """Nothing was changed: what runs after a restart must not differ from what runs now."""
    running.make_unwritable()
    with pytest.raises(ConfigUnwritable):
        running.bring_to(running.inbound(0))
    observed = running.node.observe()
    assert observed.running is not None
    assert observed.running.inbounds == {}


def test_removing_what_is_not_there_is_harmless(running: World) -> None:
    """A plan may be repeated after half of it was done."""
    running.node.apply(Plan(remove=("key-7",), cut=(running.ports[3],)))


def test_samples_belong_to_a_life(running: World) -> None:
    """The same epoch as observed; another after a restart, with counters that begin anew."""
    first, observed = running.node.sample(), running.node.observe()
    assert observed.running is not None
    assert first.epoch == observed.running.epoch == running.node.sample().epoch
    assert dict(first.usage) == {}
    running.host.restart()
    assert running.node.sample().epoch != first.epoch


def test_quiet_means_that_nobody_is_in(running: World) -> None:
    """No inbound of a customer listens, and the last counters are given."""
    running.bring_to(running.inbound(0))
    assert running.host.quiesce() == running.node.sample()
    assert running.host.is_free(running.ports[0])
    before = running.node.epoch()
    running.host.restart()
    observed = running.node.observe()
    assert observed.running is not None
    assert set(observed.running.inbounds) == {"key-0"}
    assert observed.running.epoch == running.node.epoch() != before


def test_the_end_of_xray_is_noticed_at_once(running: World) -> None:
    """And nobody waits for it."""
    assert running.node.is_up()
    running.kill()
    assert not running.node.is_up()
    assert running.node.observe().running is None
    assert running.node.ready_names() == frozenset()


def test_an_inbound_may_have_many_clients(running: World) -> None:
    """A call's message is larger than a frame and a window of HTTP/2 then, and what runs is what was asked for."""
    plain = running.inbound(0)
    clients = tuple(VlessClient(str(UUID(int=number, version=4)), f"key-{number}") for number in range(1_000))
    shared = replace(plain, clients=clients)
    running.bring_to(plain)
    for wanted in (shared, replace(shared, clients=clients[1:]), shared):
        running.bring_to(wanted)
        observed = running.node.observe()
        assert observed.running is not None
        assert observed.running.inbounds == {plain.tag: wanted}
