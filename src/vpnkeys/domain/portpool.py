"""The range of ports for keys, and which of them a new key gets."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from vpnkeys.domain.errors import PortsExhausted, XrayUnavailable


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


def lowest_free(
    pool: PortRange, taken: Collection[int], is_free: Callable[[int], bool], pending: Collection[int]
) -> int:
    """Return the lowest port of the pool that no key has and for which `is_free` is true on this host.

    `is_free` tries to listen, so it is called only for ports that no key has. Raises PortsExhausted when none is left,
    XrayUnavailable when some of the taken ones are only `pending`.
    """
    for port in pool.ports:
        if port not in taken and is_free(port):
            return port
    if reserved := sum(port in pool for port in pending):
        msg = (
            f"No port of {pool} is free now: {reserved} are reserved until Xray, which does not answer, confirms that "
            "their keys have stopped. Nothing was changed; try again in some seconds."
        )
        raise XrayUnavailable(msg)
    msg = f"All {len(pool)} ports of {pool} are taken; delete a key, or widen VPNKEYS_PORT_RANGE."
    raise PortsExhausted(msg)
