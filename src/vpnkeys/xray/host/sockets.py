"""Finds and ends the host's TCP sockets by port.

Connections are ended by SOCK_DESTROY of sock_diag(7), as `ss -K` does, without a process and without iproute2. It needs
CAP_NET_ADMIN and a kernel with CONFIG_INET_DIAG_DESTROY. Messages: linux/netlink.h, sock_diag.h, inet_diag.h.
"""

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

from vpnkeys.domain.limits.source import source_of

_NETLINK_SOCK_DIAG = 4
_TCPDIAG_GETSOCK = 18
_SOCK_DESTROY = 21
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x01, 0x04, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port id
_REQUEST = struct.Struct("=BBBBI")  # inet_diag_req_v2 without its id: family, protocol, extensions, pad, states
_QUESTION = struct.Struct("=BBBB")  # inet_diag_req up to its id: family and lengths, of no effect; extensions
_STATES = struct.Struct("=I4x")  # the rest of inet_diag_req, behind its id
_MESSAGE = struct.Struct("=BBBB")  # inet_diag_msg up to its id: family, state, timer, retransmissions
_INODE_OFFSET = 68  # behind the id: expires, receive queue, write queue, user id
_ID_SIZE = 48  # inet_diag_sockid: ports (big endian), addresses, interface, cookie
_ID_OF_PORTS = struct.Struct("!HH44x")  # source and destination port, 0 for any
_INODE = struct.Struct("=I")  # the last field of inet_diag_msg

_TCP_INFO = 2  # INET_DIAG_INFO, an attribute behind inet_diag_msg
_WITH_TCP_INFO = 1 << (_TCP_INFO - 1)
_ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type
_LAST_RECEIVED_OFFSET = 52  # tcp_info: tcpi_last_data_recv, tcpi_last_ack_recv, in milliseconds
_LAST_RECEIVED = struct.Struct("=II")
_BYTES_OFFSET = 120  # tcp_info: tcpi_bytes_acked, tcpi_bytes_received
_BYTES = struct.Struct("=QQ")

# A filter that the kernel applies (inet_diag_bc_op): what to test, how far to go on if so, and if not; a jump past the
# end leaves the socket out.
_FILTER_ATTRIBUTE = 1  # INET_DIAG_REQ_BYTECODE
_OP = struct.Struct("=BBH")
_OP_JUMP, _OP_PORT_AT_LEAST, _OP_PORT_AT_MOST, _OP_MARK = 1, 2, 3, 10
_MARK_AND_MASK = struct.Struct("=II")

# All states but LISTEN (10), TIME_WAIT (6) and CLOSE (7): those have no peer to cut off.
_OPEN_STATES = 0xFFF & ~(1 << 10 | 1 << 6 | 1 << 7)
_LISTENING = 1 << 10


class OpenSocket(NamedTuple):
    """One TCP socket, open or listening, as the kernel shows it.

    `identity` is its inet_diag_sockid, which no other socket ever has. `sent` and `received` are bytes that the peer
    acknowledged, and that came from it; `quiet_s` is for how long no data came.
    """

    identity: bytes
    family: int
    inode: int
    sent: int
    received: int
    quiet_s: float

    @property
    def port(self) -> int:
        """The local port."""
        return _local_port(self.identity)

    @property
    def source(self) -> str:
        """The source of the peer (`domain.limits.source`)."""
        return source_of(str(_peer_of(self.family, self.identity)))


def listening() -> list[OpenSocket]:
    """Return all sockets that listen. Raises OSError when the kernel does not support it."""
    return _all_open(b"", states=_LISTENING)


def clients_of(first: int, last: int) -> list[OpenSocket]:
    """Return all open sockets with a local port in this range. Raises OSError when the kernel does not support it."""
    at_least = _OP.pack(_OP_PORT_AT_LEAST, 8, 20) + _OP.pack(0, 0, first)
    at_most = _OP.pack(_OP_PORT_AT_MOST, 8, 12) + _OP.pack(0, 0, last)
    return _all_open(at_least + at_most)


def unmarked_to(port: int, mark: int) -> list[OpenSocket]:
    """Return all open sockets to this remote port whose packets do not have this mark. Raises OSError.

    It needs CAP_NET_ADMIN.
    """
    has_mark = _OP.pack(_OP_MARK, 12, 16) + _MARK_AND_MASK.pack(mark, 0xFFFFFFFF)
    return _all_open(has_mark + _OP.pack(_OP_JUMP, 4, 8), destination_port=port)


def _all_open(only: bytes, *, destination_port: int = 0, states: int = _OPEN_STATES) -> list[OpenSocket]:
    with _netlink() as netlink:
        opened = _open_sockets(netlink, destination_port=destination_port, only=only, states=states)
        return [OpenSocket(one.identity, one.family, one.inode, *_bytes_and_quiet(one.info)) for one in opened]


def end(opened: Collection[OpenSocket]) -> int:
    """End these sockets; return the number of those that were still open. Raises what `cut` raises."""
    if not opened:
        return 0
    with _netlink() as netlink:
        return sum(_destroy(netlink, one.family, one.identity) for one in opened)


def cut(ports: Collection[int], source: str | None = None) -> int:
    """End all open connections with these local TCP ports, or only those of a source; return their number.

    No other key is affected, because a port belongs to one key. Raises PermissionError without CAP_NET_ADMIN, OSError
    when the kernel does not support it.
    """
    if not ports:
        return 0
    # The kernel walks its whole table for each question, which takes 0.8 ms: a thousand ports are asked for at once.
    wanted, only = frozenset(ports), next(iter(ports)) if len(ports) == 1 else 0
    count = 0
    with _netlink() as netlink:
        for one in list(_open_sockets(netlink, source_port=only)):
            if _local_port(one.identity) not in wanted:
                continue
            if source is None or source_of(str(_peer_of(one.family, one.identity))) == source:
                count += _destroy(netlink, one.family, one.identity)
    return count


def silent_for(port: int) -> dict[str, float]:
    """Return the sources with open connections to this local TCP port, and for how many seconds each sent no packet.

    Raises OSError when the kernel does not support it.
    """
    silent: dict[str, float] = {}
    with _netlink() as netlink:
        for one in _open_sockets(netlink, source_port=port):
            source, silent_s = source_of(str(_peer_of(one.family, one.identity))), _silence(one.info)
            silent[source] = min(silent_s, silent.get(source, silent_s))
    return silent


def cut_outgoing(pid: int, peers: Collection[tuple[str, int]]) -> int:
    """End all open connections of a process to these (address, port) pairs; return their number.

    Raises what `cut` raises.
    """
    # By inode, because sock_diag does not say which process has a socket.
    own = socket_inodes(pid)
    wanted = {(ip_address(address), port) for address, port in peers}
    count = 0
    with _netlink() as netlink:
        for port in sorted({port for _, port in wanted}):
            for one in list(_open_sockets(netlink, destination_port=port)):
                if one.inode in own and (_peer_of(one.family, one.identity), port) in wanted:
                    count += _destroy(netlink, one.family, one.identity)
    return count


def socket_inodes(pid: int) -> set[int]:
    """Return the inodes of a process's sockets: /proc/PID/fd/N is a link to "socket:[INODE]" (proc(5))."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            kind, _, inode = str(entry.readlink()).partition(":")
            if kind == "socket":
                inodes.add(int(inode.strip("[]")))
    return inodes


def can_cut() -> bool:
    """Return whether this process may end connections, tested on a loopback connection of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            try:
                return cut([port]) > 0
            except OSError:
                return False


@contextmanager
def _netlink() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as netlink:
        netlink.bind((0, 0))
        yield netlink


class _Seen(NamedTuple):
    """A socket as the kernel describes it (`OpenSocket`); `info` is its tcp_info, empty when the kernel gives none."""

    family: int
    identity: bytes
    inode: int
    info: bytes


def _open_sockets(
    netlink: socket.socket,
    *,
    source_port: int = 0,
    destination_port: int = 0,
    only: bytes = b"",
    states: int = _OPEN_STATES,
) -> Iterator[_Seen]:
    """Yield each socket in these states, with these ports (0: any), that passes the filter `only`, of IPv4 and IPv6."""
    # The older question of the two, as it is for both families: the newer one walks the kernel's table for each.
    ports = _ID_OF_PORTS.pack(source_port, destination_port)
    request = _QUESTION.pack(0, 0, 0, _WITH_TCP_INFO) + ports + _STATES.pack(states)
    if only:
        request += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(only), _FILTER_ATTRIBUTE) + only
    _send(netlink, _TCPDIAG_GETSOCK, _NLM_F_REQUEST | _NLM_F_DUMP, request)
    while True:
        for kind, body in _messages(netlink.recv(65536)):
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                _raise(body)
            identity = body[_MESSAGE.size : _MESSAGE.size + _ID_SIZE]
            yield _Seen(body[0], identity, _INODE.unpack_from(body, _INODE_OFFSET)[0], _tcp_info(body))


def _tcp_info(body: bytes) -> bytes:
    at = _INODE_OFFSET + _INODE.size
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if kind == _TCP_INFO:
            return body[at + _ATTRIBUTE.size : at + length]
        at += max((length + 3) & ~3, _ATTRIBUTE.size)
    return b""


def _silence(info: bytes) -> float:
    """Return for how many seconds no packet came on a socket; 0 when the kernel does not say."""
    if len(info) < _LAST_RECEIVED_OFFSET + _LAST_RECEIVED.size:
        return 0.0
    # Without data from a customer who only downloads, acknowledgements come all the same.
    data_ms, acknowledgement_ms = _LAST_RECEIVED.unpack_from(info, _LAST_RECEIVED_OFFSET)
    return min(int(data_ms), int(acknowledgement_ms)) / 1000


def _bytes_and_quiet(info: bytes) -> tuple[int, int, float]:
    """Return bytes sent and received, and for how many seconds no data came; large and 0 when the kernel says nothing.

    The time since data came is that since the connection was made, when none ever came (tcp_create_openreq_child).
    """
    if len(info) < _BYTES_OFFSET + _BYTES.size:
        return 0, 1 << 62, 0.0  # as of a customer's connection: nothing is ended for what is unknown
    sent, received = _BYTES.unpack_from(info, _BYTES_OFFSET)
    return sent, received, _LAST_RECEIVED.unpack_from(info, _LAST_RECEIVED_OFFSET)[0] / 1000


def _local_port(identity: bytes) -> int:
    """Return the local port in a socket's identity."""
    return int.from_bytes(identity[:2])


def _peer_of(family: int, identity: bytes) -> IPv4Address | IPv6Address:
    """Return the remote address in a socket's identity; that of an IPv4 peer of a dual-stack socket as IPv4."""
    if family == socket.AF_INET:
        return IPv4Address(identity[20:24])
    address = IPv6Address(identity[20:36])
    return address.ipv4_mapped or address


def _destroy(netlink: socket.socket, family: int, identity: bytes) -> int:
    """End one socket; return 1, or 0 when it had closed already."""
    # The identity contains a cookie, so a new socket with the same ports is never hit.
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _OPEN_STATES) + identity
    _send(netlink, _SOCK_DESTROY, _NLM_F_REQUEST | _NLM_F_ACK, request)
    for kind, body in _messages(netlink.recv(65536)):
        if kind == _NLMSG_ERROR:
            code = -struct.unpack_from("=i", body)[0]
            if code == errno.ENOENT:
                return 0
            if code:
                _raise(body)
    return 1


def _send(netlink: socket.socket, kind: int, flags: int, body: bytes) -> None:
    netlink.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]  # messages are aligned to 4 bytes (NLMSG_ALIGN)


def _raise(body: bytes) -> None:
    code = -struct.unpack_from("=i", body)[0]
    raise OSError(code, os.strerror(code))
