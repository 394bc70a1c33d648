"""The range of ports for keys, and the choice of a new key's port."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from vpnkeys.domain.errors import PortsExhausted


@dataclass(frozen=True, slots=True)
class PortRange:
    """A range of TCP ports from `first` to `last`, both included."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @property
    def ports(self) -> range:
        """The ports, lowest first."""
        return range(self.first, self.last + 1)


def lowest_free(pool: PortRange, taken: Collection[int], is_free: Callable[[int], bool]) -> int:
    """Return the lowest port of the pool that no key has and for which `is_free` is true on this host.

    `is_free` tries to listen, so it is called only for ports that no key has. Raises PortsExhausted when none is left.
    """
    for port in pool.ports:
        if port not in taken and is_free(port):
            return port
    msg = f"All {len(pool)} ports of {pool} are taken; delete a key, or widen VPNKEYS_PORT_RANGE."
    raise PortsExhausted(msg)
