"""The host's TCP sockets by port: is one listening, and end those that are open.

Ending is SOCK_DESTROY of the kernel's sock_diag (what `ss -K` sends), spoken directly: no process, no iproute2 needed.
Messages: linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h. It needs CAP_NET_ADMIN and CONFIG_INET_DIAG_DESTROY.
"""

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_SOCK_DESTROY = 21
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x01, 0x04, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port id
_REQUEST = struct.Struct("=BBBBI")  # inet_diag_req_v2 without its id: family, protocol, extensions, pad, states
_MESSAGE = struct.Struct("=BBBB")  # inet_diag_msg up to its id: family, state, timer, retransmissions
_INODE_OFFSET = 68  # behind the id: expires, receive queue, write queue, user id
_ID_SIZE = 48  # inet_diag_sockid: ports (big endian), addresses, interface, cookie
_ID_OF_PORTS = struct.Struct("!HH44x")  # source and destination port, 0 for any
_INODE = struct.Struct("=I")  # the last field of inet_diag_msg

# All states but LISTEN (10), TIME_WAIT (6) and CLOSE (7): those have no peer to cut off.
_OPEN_STATES = 0xFFF & ~(1 << 10 | 1 << 6 | 1 << 7)


def is_free(port: int) -> bool:
    """Whether nothing listens on this TCP port, on any address of the host.

    Binding is the exact question, in one system call: with SO_REUSEADDR it fails for listeners and outgoing connections
    of others, not for what is left of closed ones. Xray itself would not notice: it binds with SO_REUSEPORT, so that
    two inbounds on one port both "succeed".
    """
    return _can_bind(socket.AF_INET, "0.0.0.0", port) and _can_bind(socket.AF_INET6, "::", port)  # noqa: S104 - bound, never listening


def _can_bind(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        # A host without IPv6 has nothing listening there.
        return error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}
    return True


def cut(port: int, peer: str | None = None) -> int:
    """End every open connection whose local TCP port this is, or only a peer's, at once; the number of them.

    Exact, because a port belongs to one key. Raises PermissionError without CAP_NET_ADMIN, OSError when the kernel
    cannot do it.
    """
    count = 0
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as netlink:
        netlink.bind((0, 0))
        for family in (socket.AF_INET, socket.AF_INET6):
            for identity, _ in list(_open_sockets(netlink, family, source_port=port)):
                if peer is None or _peer_of(family, identity) == ip_address(peer):
                    count += _destroy(netlink, family, identity)
    return count


def cut_outgoing(pid: int, peers: Collection[tuple[str, int]]) -> int:
    """End every open connection of a process to these addresses and ports, at once; the number of them.

    Raises what `cut` raises.
    """
    own = _socket_inodes(pid)
    wanted = {(ip_address(address), port) for address, port in peers}
    count = 0
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as netlink:
        netlink.bind((0, 0))
        for family in (socket.AF_INET, socket.AF_INET6):
            for port in sorted({port for _, port in wanted}):
                for identity, inode in list(_open_sockets(netlink, family, destination_port=port)):
                    if inode in own and (_peer_of(family, identity), port) in wanted:
                        count += _destroy(netlink, family, identity)
    return count


def _socket_inodes(pid: int) -> set[int]:
    """The sockets of a process: /proc/PID/fd/N is a link to "socket:[INODE]" (proc(5))."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            kind, _, inode = str(entry.readlink()).partition(":")
            if kind == "socket":
                inodes.add(int(inode.strip("[]")))
    return inodes


def can_cut() -> bool:
    """Whether this process may cut connections here: tried on a connection of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            try:
                return cut(port) > 0
            except OSError:
                return False


def _open_sockets(
    netlink: socket.socket, family: int, *, source_port: int = 0, destination_port: int = 0
) -> Iterator[tuple[bytes, int]]:
    """The kernel's names (inet_diag_sockid) and the inodes of the sockets with these ports; 0 is any."""
    ports = _ID_OF_PORTS.pack(source_port, destination_port)
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _OPEN_STATES) + ports
    _send(netlink, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST | _NLM_F_DUMP, request)
    while True:
        for kind, body in _messages(netlink.recv(65536)):
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                _raise(body)
            identity = body[_MESSAGE.size : _MESSAGE.size + _ID_SIZE]
            yield identity, _INODE.unpack_from(body, _INODE_OFFSET)[0]


def _peer_of(family: int, identity: bytes) -> IPv4Address | IPv6Address:
    """The remote address in a socket's name; an IPv4 peer of a dual-stack socket is told as IPv4."""
    if family == socket.AF_INET:
        return IPv4Address(identity[20:24])
    address = IPv6Address(identity[20:36])
    return address.ipv4_mapped or address


def _destroy(netlink: socket.socket, family: int, identity: bytes) -> int:
    """1 when the socket was ended, 0 when it was gone already."""
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
        data = data[(length + 3) & ~3 :]


def _raise(body: bytes) -> None:
    code = -struct.unpack_from("=i", body)[0]
    raise OSError(code, os.strerror(code))
