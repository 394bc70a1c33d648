"""Serves `/api/nodes`: which nodes there are, and how each follows the database."""

from functools import partial
from typing import Annotated

from fastapi import Path

from vpnkeys.api.auth.access import requires
from vpnkeys.api.convert.nodes import changed_record, new_record, node_answer
from vpnkeys.api.deps import FleetDep, NodesDep, ServicesDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.token import Scope
from vpnkeys.server.pools import Pool
from vpnkeys.wire.nodes import NewNode, Node, NodeChange, NodeMade, NodeRemoved

router = ApiRouter(prefix="/api/nodes", tags=["nodes"], responses=problems(400, 401, 429, 500, 503))

NodeId = Annotated[str, Path(description="the node's id or its name")]


@router.get("")
@requires(Scope.READ, pool=Pool.SLOW)
def list_nodes(nodes: NodesDep, services: ServicesDep) -> list[Node]:
    """Return all nodes, each compared with the database now."""
    return [node_answer(report, services.xray_version) for report in nodes.list()]


@router.get("/{node_id}", responses=problems(404))
@requires(Scope.READ, pool=Pool.SLOW)
def get_node(node_id: NodeId, nodes: NodesDep, services: ServicesDep) -> Node:
    """Return one node, compared with the database now."""
    return node_answer(nodes.get(node_id), services.xray_version)


@router.post("")
@requires(Scope.ADMIN, pool=Pool.SLOW)
def add_node(new: NewNode, fleet: FleetDep, services: ServicesDep) -> NodeMade:
    """Make a node, and the command by which a new machine becomes it: once, within 15 minutes."""
    made, join, token = fleet.admin.add(new_record(new))
    node = node_answer(fleet.nodes.get(str(made.ref.id)), services.xray_version)
    command = fleet.join_command(token)
    return NodeMade(node=node, join_command=command, join_token=token, expires_at=join.expires_at)


@router.patch("/{node_id}", responses=problems(404))
@requires(Scope.ADMIN, pool=Pool.SLOW)
def change_node(node_id: NodeId, change: NodeChange, fleet: FleetDep, services: ServicesDep) -> Node:
    """Change a node. Its keys stay as they are; a lost one is waited for by nothing."""
    changed = fleet.admin.change(node_id, partial(changed_record, change))
    return node_answer(fleet.nodes.get(str(changed.ref.id)), services.xray_version)


@router.delete("/{node_id}", responses=problems(404))
@requires(Scope.ADMIN, pool=Pool.SLOW)
def remove_node(node_id: NodeId, fleet: FleetDep) -> NodeRemoved:
    """Remove a node that has no keys, or one that is lost, with its keys."""
    removed = fleet.admin.remove(node_id)
    return NodeRemoved(message=f"Node {removed.ref.name} removed")
