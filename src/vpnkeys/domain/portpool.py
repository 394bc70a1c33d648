"""Which port a new key gets."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from vpnkeys.domain.errors import PortsExhausted


@dataclass(frozen=True, slots=True)
class PortRange:
    """TCP ports from `first` to `last`, both included."""

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
    """The lowest port of the pool that no key has and that `is_free` on the host.

    `is_free` is asked only for ports that no key has. Raises PortsExhausted when there is none.
    """
    for port in pool.ports:
        if port not in taken and is_free(port):
            return port
    msg = f"All {len(pool)} ports of {pool} are taken; delete a key, or widen VPNKEYS_PORT_RANGE."
    raise PortsExhausted(msg)
