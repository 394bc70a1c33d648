"""Nodes: the servers on which keys live, each with an Xray and ports of its own.

What a node can do is the protocol `interfaces.Node`; here is what the database knows of nodes.
"""

from vpnkeys.domain.nodes.record import (
    ANY_NODE,
    LOCAL,
    NodeRecord,
    NodeRef,
    NodeState,
    NodeWish,
    find_node,
    parse_node_name,
)
from vpnkeys.domain.nodes.secrets import RENEW_AFTER, Join, id_of_node, is_digest_of, new_join, new_node_token
from vpnkeys.domain.nodes.seen import NOBODY, SILENT_AFTER, Confirmed, HostState, Sighting, state_of

__all__ = [
    "ANY_NODE",
    "LOCAL",
    "NOBODY",
    "RENEW_AFTER",
    "SILENT_AFTER",
    "Confirmed",
    "HostState",
    "Join",
    "NodeRecord",
    "NodeRef",
    "NodeState",
    "NodeWish",
    "Sighting",
    "find_node",
    "id_of_node",
    "is_digest_of",
    "new_join",
    "new_node_token",
    "parse_node_name",
    "state_of",
]
