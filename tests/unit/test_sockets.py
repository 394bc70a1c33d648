"""The kernel's own word about ports and connections, on loopback."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.support.ports import free_port
from tests.support.process import wait_until

from vpnkeys.domain.limits.source import source_of
from vpnkeys.xray.host import sockets
from vpnkeys.xray.host.ports import is_free
from vpnkeys.xray.host.sockets import can_cut, cut, cut_outgoing, silent_for

needs_net_admin = pytest.mark.skipif(not can_cut(), reason="cutting needs CAP_NET_ADMIN")
ADDRESSES = {"IPv4": (socket.AF_INET, "127.0.0.1"), "IPv6": (socket.AF_INET6, "::1")}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test opens."""
    with ExitStack() as found:
        yield found


def listen(stack: ExitStack, port: int, family: socket.AddressFamily, address: str) -> socket.socket:
    """Somebody who listens."""
    return stack.enter_context(socket.create_server((address, port), family=family))


def connection(stack: ExitStack, server: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Both ends of an open connection to a server: the customer's and the server's."""
    address = server.getsockname()[0].removeprefix("::ffff:")
    customer = stack.enter_context(socket.create_connection((address, server.getsockname()[1]), timeout=5))
    return customer, stack.enter_context(server.accept()[0])


def is_open(customer: socket.socket, server_side: socket.socket) -> bool:
    """Whether a byte gets through."""
    try:
        server_side.sendall(b"x")
        return customer.recv(1) == b"x"
    except (ConnectionError, BrokenPipeError):
        return False


@pytest.mark.parametrize(("family", "address"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_a_port_on_which_somebody_listens_is_not_free(
    stack: ExitStack, family: socket.AddressFamily, address: str
) -> None:
    """On any address of the host; as soon as nobody listens, it is."""
    port = free_port()
    assert is_free(port)
    server = listen(stack, port, family, address)
    assert not is_free(port)
    server.close()
    assert is_free(port)


def test_what_is_left_of_closed_connections_does_not_keep_a_port(stack: ExitStack) -> None:
    """A deleted key's port can be handed out at once, TIME_WAIT or not."""
    port = free_port()
    server = listen(stack, port, *ADDRESSES["IPv4"])
    customer, server_side = connection(stack, server)
    server_side.close()
    assert customer.recv(1) == b""
    customer.close()
    server.close()
    assert is_free(port)


@needs_net_admin
@pytest.mark.parametrize(("family", "address"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_a_cut_ends_exactly_one_ports_connections(stack: ExitStack, family: socket.AddressFamily, address: str) -> None:
    """All of that port at once, and nobody else's, not even on the port beside it."""
    port = free_port()
    ours, others = listen(stack, port, family, address), listen(stack, free_port(), family, address)
    ended = [connection(stack, ours) for _ in range(3)]
    kept = [connection(stack, others) for _ in range(3)]
    assert all(is_open(*pair) for pair in ended + kept)
    assert cut([port]) == 3
    assert not any(is_open(*pair) for pair in ended)
    assert all(is_open(*pair) for pair in kept)


@needs_net_admin
def test_many_ports_are_cut_in_one_go(stack: ExitStack) -> None:
    """All of them, of both families, and no port between; none is no port, and not all."""
    servers = [listen(stack, free_port(), *ADDRESSES[name]) for name in ("IPv4", "IPv6", "IPv4", "IPv4")]
    first, second, other, third = (connection(stack, server) for server in servers)
    ports = [server.getsockname()[1] for server in servers]
    assert cut([]) == 0
    assert cut([ports[0], ports[1], ports[3], free_port()]) == 3
    assert [is_open(*pair) for pair in (first, second, other, third)] == [False, False, True, False]


@needs_net_admin
def test_a_cut_ends_ipv4_connections_of_an_ipv6_listener(stack: ExitStack) -> None:
    """An inbound on `::` takes both; to the kernel they are IPv6 sockets with mapped addresses."""
    port = free_port()
    server = stack.enter_context(socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True))
    customer = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
    server_side = stack.enter_context(server.accept()[0])
    assert cut([port]) == 1
    assert not is_open(customer, server_side)


@needs_net_admin
def test_a_cut_leaves_the_listener(stack: ExitStack) -> None:
    """The inbound is removed by Xray itself; new customers of a replaced one must get in."""
    port = free_port()
    server = listen(stack, port, *ADDRESSES["IPv4"])
    connection(stack, server)
    cut([port])
    assert is_open(*connection(stack, server))


@needs_net_admin
def test_a_customers_own_port_is_not_ours_to_cut(stack: ExitStack) -> None:
    """Only local ports count: a connection from here to that port number elsewhere goes on."""
    port = free_port()
    server = listen(stack, port, socket.AF_INET, "127.0.0.1")
    customer, server_side = connection(stack, server)
    assert cut([customer.getpeername()[1] + 1]) == 0
    assert is_open(customer, server_side)


@needs_net_admin
def test_cutting_a_silent_port_is_no_error() -> None:
    """Nothing is there: nothing is ended."""
    assert cut([free_port()]) == 0


@needs_net_admin
def test_many_connections_are_cut_in_one_go(stack: ExitStack) -> None:
    """More than one message of the kernel holds."""
    port = free_port()
    server = listen(stack, port, *ADDRESSES["IPv4"])
    pairs = [connection(stack, server) for _ in range(300)]
    assert cut([port]) == 300
    assert not any(is_open(*pair) for pair in pairs)


@needs_net_admin
@pytest.mark.parametrize(("family", "address"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_outgoing_connections_are_cut_by_process_and_peer(
    stack: ExitStack, family: socket.AddressFamily, address: str
) -> None:
    """Those of this process to that address and port, and neither to another port nor of another process."""
    meant, other = (listen(stack, free_port(), family, address) for _ in range(2))
    port = meant.getsockname()[1]
    mine, elsewhere = connection(stack, meant), connection(stack, other)
    script = f"import socket, sys; s = socket.create_connection(({address!r}, {port})); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    stack.callback(child.communicate)
    theirs = stack.enter_context(meant.accept()[0])

    assert cut_outgoing(os.getpid(), [(address, port)]) == 1

    assert not is_open(*mine)
    assert is_open(*elsewhere)
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    assert cut_outgoing(child.pid, [("192.0.2.1", port)]) == 0
    assert cut_outgoing(child.pid, [(address, port)]) == 1


@pytest.mark.parametrize(("family", "address"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_silence_lasts_until_a_packet_comes(stack: ExitStack, family: socket.AddressFamily, address: str) -> None:
    """From the customer: what is sent to one who is gone does not count, an acknowledgement does."""
    server = listen(stack, free_port(), family, address)
    customer, server_side = connection(stack, server)
    port = server.getsockname()[1]
    (source,) = silent_for(port)
    assert source == source_of(address)
    assert wait_until(lambda: silent_for(port)[source] > 0.3)
    customer.sendall(b"x")
    assert silent_for(port)[source] < 0.3
    assert wait_until(lambda: silent_for(port)[source] > 0.3)
    server_side.sendall(b"x")
    assert wait_until(lambda: silent_for(port)[source] < 0.3)
    second, _ = connection(stack, server)
    assert wait_until(lambda: silent_for(port)[source] > 0.3)
    second.sendall(b"x")
    assert silent_for(port)[source] < 0.3
    customer.close()
    second.close()
    server_side.close()


@needs_net_admin
def test_a_cut_of_a_network_ends_all_its_addresses(stack: ExitStack) -> None:
    """A customer has a whole /64 of IPv6."""
    server = listen(stack, free_port(), *ADDRESSES["IPv6"])
    pair = connection(stack, server)
    assert cut([server.getsockname()[1]], "2001:db8::/64") == 0
    assert cut([server.getsockname()[1]], source_of("::1")) > 0
    assert not is_open(*pair)


@needs_net_admin
def test_both_families_are_one_question(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each deletion of a key asks, and for each question the kernel walks its table of all connections."""
    port, asked = free_port(), list[int]()
    pairs = [connection(stack, listen(stack, port, *which)) for which in ADDRESSES.values()]
    send = sockets._send

    def counted(netlink: socket.socket, kind: int, flags: int, body: bytes) -> None:
        asked.append(flags & sockets._NLM_F_DUMP)
        send(netlink, kind, flags, body)

    monkeypatch.setattr(sockets, "_send", counted)
    assert cut([port]) >= len(pairs)
    assert not any(is_open(*pair) for pair in pairs)
    assert asked.count(sockets._NLM_F_DUMP) == 1
