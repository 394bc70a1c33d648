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


def none_left(pool: PortRange, pending: Collection[int], node: NodeRef) -> VpnKeysError:
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
