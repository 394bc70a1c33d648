"""A minimal SOCKS5 client (RFC 1928) on blocking sockets: CONNECT and UDP ASSOCIATE.

The clients under test answer "succeeded" before they have reached anybody. So a connection that
opens proves nothing: only bytes that came through do.
"""

from __future__ import annotations

import ipaddress
import socket
from types import TracebackType
from typing import Self

Address = tuple[str, int]

_VERSION = 5
_CONNECT, _UDP_ASSOCIATE = 1, 3
_IPV4, _NAME, _IPV6 = 1, 3, 4
_MAX_DATAGRAM = 65535


class SocksError(ConnectionError):
    """The proxy refused, or did not speak SOCKS5."""


def _encode(address: Address) -> bytes:
    """An address as SOCKS writes it; what is no IP address goes as a name, unresolved."""
    host, port = address
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode()
        return bytes([_NAME, len(name)]) + name + port.to_bytes(2, "big")
    # An IPv4-mapped address stays the IPv6 address it is written as.
    kind = _IPV4 if ip.version == 4 else _IPV6
    return bytes([kind]) + ip.packed + port.to_bytes(2, "big")


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise SocksError(message)


def _receive(sock: socket.socket, size: int) -> bytes:
    """Exactly so many bytes."""
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise SocksError("the proxy closed the connection")
        data += part
    return data


def _receive_address(sock: socket.socket) -> Address:
    """An address in a proxy's answer."""
    kind = _receive(sock, 1)[0]
    if kind not in (_IPV4, _NAME, _IPV6):
        raise SocksError(f"unknown kind of address: {kind}")
    size = {_IPV4: 4, _IPV6: 16}.get(kind) or _receive(sock, 1)[0]
    raw = _receive(sock, size)
    host = raw.decode() if kind == _NAME else str(ipaddress.ip_address(raw))
    return host, int.from_bytes(_receive(sock, 2), "big")


def _decode_datagram(data: bytes) -> tuple[bytes, Address]:
    """(payload, sender) of a datagram that came by the proxy."""
    kind = data[3]
    start = 5 if kind == _NAME else 4
    end = start + (data[4] if kind == _NAME else 4 if kind == _IPV4 else 16)
    raw = data[start:end]
    host = raw.decode() if kind == _NAME else str(ipaddress.ip_address(raw))
    return data[end + 2 :], (host, int.from_bytes(data[end : end + 2], "big"))


def _ask(proxy: Address, command: int, address: Address, timeout: float) -> tuple[socket.socket, Address]:
    """(open control connection, bound address) of one request to the proxy."""
    sock = socket.create_connection(proxy, timeout)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(bytes([_VERSION, 1, 0]))
        _expect(_receive(sock, 2)[1] == 0, "the proxy wants a password")
        sock.sendall(bytes([_VERSION, command, 0]) + _encode(address))
        _, reply, _ = _receive(sock, 3)
        _expect(reply == 0, f"the proxy answered with error {reply}")
        return sock, _receive_address(sock)
    except BaseException:
        sock.close()
        raise


def connect(proxy: Address, host: str, port: int, timeout: float = 10.0) -> socket.socket:
    """A TCP connection to host:port by way of the proxy; the timeout stays set on the socket."""
    return _ask(proxy, _CONNECT, (host, port), timeout)[0]


class UdpAssociation:
    """One UDP socket behind the proxy that may talk to many destinations."""

    def __init__(self, proxy: Address, timeout: float = 10.0) -> None:
        """Ask the proxy for a relay; it lives as long as the control connection."""
        self._control, relay = _ask(proxy, _UDP_ASSOCIATE, ("0.0.0.0", 0), timeout)  # noqa: S104
        # Some proxies name no address of their own: then the relay is where the proxy is.
        host = proxy[0] if ipaddress.ip_address(relay[0]).is_unspecified else relay[0]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._udp = socket.socket(family, socket.SOCK_DGRAM)
        self._udp.settimeout(timeout)
        self._udp.connect((host, relay[1]))

    def sendto(self, data: bytes, address: Address) -> None:
        """Send one datagram to a destination beyond the proxy."""
        self._udp.send(b"\0\0\0" + _encode(address) + data)

    def recvfrom(self, timeout: float | None = None) -> tuple[bytes, Address]:
        """(data, sender) of the next datagram; `TimeoutError` when none comes."""
        if timeout is not None:
            self._udp.settimeout(timeout)
        return _decode_datagram(self._udp.recv(_MAX_DATAGRAM))

    def close(self) -> None:
        """End the association."""
        self._udp.close()
        self._control.close()

    def __enter__(self) -> Self:
        """Use the association as a context."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the association."""
        self.close()


def udp_associate(proxy: Address, timeout: float = 10.0) -> UdpAssociation:
    """A UDP relay at the proxy, for one socket and any number of destinations."""
    return UdpAssociation(proxy, timeout)
