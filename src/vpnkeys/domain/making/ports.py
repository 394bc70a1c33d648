"""Chooses the ports of new keys, or says why a node has no place or port for one."""

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import filterfalse

from vpnkeys.domain.change import Snapshot
from vpnkeys.domain.errors import (
    AlreadyTaken,
    InvalidChoice,
    NodeRefused,
    PortsExhausted,
    VpnKeysError,
    XrayUnavailable,
)
from vpnkeys.domain.nodes import LOCAL, NodeRecord, NodeRef
from vpnkeys.domain.portpool import PortRange


def require_places(records: Iterable[NodeRecord], seen: Snapshot, count: int) -> None:
    """Raise PortsExhausted when the node of a decision may not have so many more keys."""
    most = next((record.max_keys for record in records if record.ref.id == seen.node.id), None)
    if most is not None and seen.held + count > most:
        msg = (
            f"Node {seen.node.name} may have {most} keys (max_keys), and has {seen.held}: {count} more is too many. "
            "Delete or move keys, or raise max_keys. Nothing was changed."
        )
        raise PortsExhausted(msg)


def ports_for(pool: PortRange, seen: Snapshot, chosen: Sequence[int | None]) -> tuple[int, ...]:
    """Return the chosen ports, and in place of each None the lowest free one that nobody chose.

    Raises InvalidChoice, AlreadyTaken, and what `lowest_free` raises.
    """
    taken = set(seen.taken_ports)
    for wanted in filter(None, chosen):
        if wanted not in pool or wanted in taken or not seen.is_free(wanted):
            raise _refused_choice(wanted, pool, seen.node, is_a_keys=wanted in taken)
        taken.add(wanted)
    ports = []
    for port in chosen:
        taken.add(given := port or lowest_free(pool, taken, seen.is_free, seen.pending_ports, seen.node))
        ports.append(given)
    return tuple(ports)


# `is_free` tries to listen; so only ports that no key has are asked about.
def lowest_free(
    pool: PortRange,
    taken: Collection[int],
    is_free: Callable[[int], bool],
    pending: Collection[int],
    node: NodeRef = LOCAL,
) -> int:
    """Return the lowest free port of the pool that no key has.

    Raises PortsExhausted; XrayUnavailable or NodeRefused where `pending` ones are free in some seconds.
    """
    for port in filterfalse(taken.__contains__, pool.ports):
        if is_free(port):
            return port
    raise _none_left(pool, pending, node)


def _refused_choice(port: int, pool: PortRange, node: NodeRef, *, is_a_keys: bool) -> VpnKeysError:
    """Return the error for a chosen port that is outside of the pool, or not free; `is_a_keys`: another key has it."""
    is_here = node.id == LOCAL.id
    if port not in pool:
        whose = "VPNKEYS_PORT_RANGE" if is_here else f"the range of node {node.name}"
        return InvalidChoice(f"port: give one of {pool} ({whose}), or leave it out for the lowest free one.")
    other = "program or vpnkeys server on this host, or to your own inbound"
    owner = "key" if is_a_keys else other if is_here else f"program on node {node.name}"
    return AlreadyTaken(f"port {port} belongs to another {owner}; choose another, or leave it out.")


def _none_left(pool: PortRange, pending: Collection[int], node: NodeRef) -> VpnKeysError:
    """Return the error for a pool without a free port; `pending` are those that are free once Xray confirms a stop."""
    return _none_left_here(pool, pending) if node.id == LOCAL.id else _none_left_on(node, pool, pending)


def _none_left_here(pool: PortRange, pending: Collection[int]) -> VpnKeysError:
    if reserved := sum(port in pool for port in pending):
        return XrayUnavailable(
            f"No port of {pool} is free now: {reserved} are reserved until Xray confirms that their keys have stopped. "
            "Nothing was changed; try again in some seconds."
        )
    return PortsExhausted(f"All {len(pool)} ports of {pool} are taken; delete a key, or widen VPNKEYS_PORT_RANGE.")


def _none_left_on(node: NodeRef, pool: PortRange, pending: Collection[int]) -> VpnKeysError:
    if reserved := sum(port in pool for port in pending):
        return NodeRefused(
            f"Node {node.name} has no free port of {pool} now (port_reserved): {reserved} are reserved until it "
            "confirms an earlier change. Nothing was changed; try again in some seconds."
        )
    return PortsExhausted(
        f"All {len(pool)} ports of {pool} on node {node.name} are taken, by keys or by other programs there. Delete or "
        "move a key, end such a program (after a minute its port is tried again), or make the key on another node: the "
        "range of a node cannot be changed."
    )
