"""Says on which ports the running Xray listens, and on which of them another program takes connections from it.

Xray listens with SO_REUSEPORT. Another program of the same user can do so on the same port, and the kernel shares the
connections out between the two; one that names an address gets all that come to it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from socket import AF_INET6
from types import MappingProxyType

from vpnkeys.domain.plan import Listening
from vpnkeys.xray.host import sockets
from vpnkeys.xray.host.sockets import OpenSocket


@dataclass(slots=True)
class XrayListening:
    """Remembers which sockets are Xray's: with many customers it takes long to go through its descriptors.

    `pid` returns that of Xray; it raises XrayUnavailable.
    """

    pid: Callable[[], int]
    _known: tuple[int, Mapping[int, bool]] = field(default=(0, MappingProxyType({})), init=False)

    def look(self, ports: Collection[int]) -> Listening:
        """Return what is so of these ports. Raises OSError, XrayUnavailable.

        Where Xray's descriptors cannot be read, all sockets count as its own.
        """
        pid = self.pid()
        found = [one for one in sockets.listening() if one.port in ports]
        is_own = self._own_among(pid, found)
        own = [one for one in found if is_own[one.inode]]
        others = [one for one in found if not is_own[one.inode]]
        return Listening(
            own=frozenset(one.port for one in own),
            shared=frozenset(other.port for other in others if any(_is_robbed(one, other) for one in own)),
        )

    def _own_among(self, pid: int, found: Collection[OpenSocket]) -> Mapping[int, bool]:
        inodes = {one.inode for one in found}
        known = self._known[1] if self._known[0] == pid else {}
        if not inodes <= known.keys():
            try:
                own = sockets.socket_inodes(pid)
            except PermissionError:
                return dict.fromkeys(inodes, True)
            known = {inode: inode in own for inode in inodes}
        self._known = pid, known
        return known


def _is_robbed(own: OpenSocket, other: OpenSocket) -> bool:
    """Return whether connections to a socket of Xray may go to another program's."""
    if own.port != other.port:
        return False
    address = _address(own)
    if any(address):
        return (own.family, address) == (other.family, _address(other))
    return own.family in {AF_INET6, other.family}  # one for any address of IPv6 is for those of IPv4 too


def _address(listening: OpenSocket) -> bytes:
    """Return the local address, filled up with zeros; all zeros for any."""
    return listening.identity[4:20]
