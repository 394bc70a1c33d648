"""Says why a key does not get a place or a port on a node."""

from collections.abc import Collection, Iterable

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


def refused_choice(port: int, pool: PortRange, node: NodeRef, *, is_a_keys: bool) -> VpnKeysError:
    """Return the error for a chosen port that is outside of the pool, or not free; `is_a_keys`: another key has it."""
    is_here = node.id == LOCAL.id
    if port not in pool:
        whose = "VPNKEYS_PORT_RANGE" if is_here else f"the range of node {node.name}"
        return InvalidChoice(f"port: give one of {pool} ({whose}), or leave it out for the lowest free one.")
    other = "program or vpnkeys server on this host, or to your own inbound"
    owner = "key" if is_a_keys else other if is_here else f"program on node {node.name}"
    return AlreadyTaken(f"port {port} belongs to another {owner}; choose another, or leave it out.")


def too_few_ports(wanted: int, free: int, pool: PortRange, pending: Collection[int], node: NodeRef) -> VpnKeysError:
    """Return the error for more ports than a pool has free; `pending` are those that are once Xray confirms a stop."""
    is_here = node.id == LOCAL.id
    where = str(pool) if is_here else f"{pool} on node {node.name}"
    some = f"{free} of the {len(pool)} ports of {where} {'is' if free == 1 else 'are'} free, and {wanted} are needed"
    if reserved := sum(port in pool for port in pending):
        found = some if free else f"No port of {where} is free"
        again = "Nothing was changed; try again in some seconds."
        if is_here:
            until = "Xray confirms that their keys have stopped"
            return XrayUnavailable(f"{found} now: {reserved} are reserved until {until}. {again}")
        until = "the node confirms an earlier change"
        return NodeRefused(f"{found} now (port_reserved): {reserved} are reserved until {until}. {again}")
    taken = f"All {len(pool)} ports of {where} are taken"
    if is_here:
        found = f"{some}; ask for fewer," if free else f"{taken};"
        return PortsExhausted(f"{found} delete a key, or widen VPNKEYS_PORT_RANGE.")
    found = f"{some}. Ask for fewer, delete" if free else f"{taken}, by keys or by other programs there. Delete"
    return PortsExhausted(
        f"{found} or move a key, end a program that has a port there (after a minute it is tried again), or make the "
        "key on another node: the range of a node cannot be changed."
    )
