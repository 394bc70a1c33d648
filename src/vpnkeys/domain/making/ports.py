"""Chooses the ports of new keys, or says why a key does not get one."""

from collections.abc import Callable, Collection, Sequence
from itertools import filterfalse

from vpnkeys.domain.change import Snapshot
from vpnkeys.domain.errors import AlreadyTaken, InvalidChoice, PortsExhausted, VpnKeysError, XrayUnavailable
from vpnkeys.domain.portpool import PortRange


def ports_for(pool: PortRange, seen: Snapshot, chosen: Sequence[int | None]) -> tuple[int, ...]:
    """Return the chosen ports, and in place of each None the lowest free one that nobody chose.

    Raises InvalidChoice, AlreadyTaken, and what `lowest_free` raises.
    """
    taken = set(seen.taken_ports)
    for wanted in filter(None, chosen):
        if wanted not in pool or wanted in taken or not seen.is_free(wanted):
            raise _refused_choice(wanted, pool, is_a_keys=wanted in taken)
        taken.add(wanted)
    ports = []
    for port in chosen:
        taken.add(given := port or lowest_free(pool, taken, seen.is_free, seen.pending_ports))
        ports.append(given)
    return tuple(ports)


# `is_free` tries to listen; so only ports that no key has are asked about.
def lowest_free(
    pool: PortRange, taken: Collection[int], is_free: Callable[[int], bool], pending: Collection[int]
) -> int:
    """Return the lowest free port of the pool that no key has. Raises PortsExhausted, XrayUnavailable (`pending`)."""
    for port in filterfalse(taken.__contains__, pool.ports):
        if is_free(port):
            return port
    raise _none_left(pool, pending)


def _refused_choice(port: int, pool: PortRange, *, is_a_keys: bool) -> VpnKeysError:
    """Return the error for a chosen port that is outside of the pool, or not free; `is_a_keys`: another key has it."""
    if port not in pool:
        return InvalidChoice(f"port: give one of {pool} (VPNKEYS_PORT_RANGE), or leave it out for the lowest free one.")
    owner = "key" if is_a_keys else "program or vpnkeys server on this host, or to your own inbound"
    return AlreadyTaken(f"port {port} belongs to another {owner}; choose another, or leave it out.")


def _none_left(pool: PortRange, pending: Collection[int]) -> VpnKeysError:
    """Return the error for a pool without a free port; `pending` are those that are free once Xray confirms a stop."""
    if reserved := sum(port in pool for port in pending):
        return XrayUnavailable(
            f"No port of {pool} is free now: {reserved} are reserved until Xray confirms that their keys have stopped. "
            "Nothing was changed; try again in some seconds."
        )
    return PortsExhausted(f"All {len(pool)} ports of {pool} are taken; delete a key, or widen VPNKEYS_PORT_RANGE.")
