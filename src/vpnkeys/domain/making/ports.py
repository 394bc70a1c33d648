"""Chooses the ports of keys."""

from collections.abc import Callable, Collection, Sequence

from vpnkeys.domain.change import Snapshot
from vpnkeys.domain.errors import AlreadyTaken, InvalidChoice, PortsExhausted, XrayUnavailable
from vpnkeys.domain.portpool import PortRange


def ports_for(pool: PortRange, seen: Snapshot, chosen: Sequence[int | None]) -> tuple[int, ...]:
    """Return the chosen ports, and in place of each None the lowest free one that nobody chose.

    Raises InvalidChoice, AlreadyTaken, PortsExhausted.
    """
    taken = set(seen.taken_ports)
    for port in chosen:
        if port is not None:
            _require_free(port, pool, taken, seen.is_free)
            taken.add(port)
    ports = []
    for port in chosen:
        taken.add(given := port or lowest_free(pool, taken, seen.is_free, seen.pending_ports))
        ports.append(given)
    return tuple(ports)


def _require_free(port: int, pool: PortRange, taken: Collection[int], is_free: Callable[[int], bool]) -> None:
    if port not in pool:
        msg = f"port: give one of {pool} (VPNKEYS_PORT_RANGE), or leave it out for the lowest free one."
        raise InvalidChoice(msg)
    if port in taken or not is_free(port):
        owner = "key" if port in taken else "program or vpnkeys server on this host, or to your own inbound"
        msg = f"port {port} belongs to another {owner}; choose another, or leave it out."
        raise AlreadyTaken(msg)


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
            f"No port of {pool} is free now: {reserved} are reserved until Xray confirms that their keys have stopped. "
            "Nothing was changed; try again in some seconds."
        )
        raise XrayUnavailable(msg)
    msg = f"All {len(pool)} ports of {pool} are taken; delete a key, or widen VPNKEYS_PORT_RANGE."
    raise PortsExhausted(msg)
