"""Serves `/api/nodes`: which nodes there are, and how each follows the database."""

from functools import partial
from typing import Annotated, Final

from fastapi import Path

from vpnkeys.api.auth.access import requires
from vpnkeys.api.convert.nodes import changed_record, moved_answer, new_record, node_answer
from vpnkeys.api.deps import FleetDep, NodesDep, ServicesDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.api.services import Services
from vpnkeys.domain.nodes import Join, NodeRecord
from vpnkeys.domain.token import Scope
from vpnkeys.server.pools import Pool
from vpnkeys.service.nodes.fleet import Fleet
from vpnkeys.wire.nodes import NewNode, Node, NodeChange, NodeMade, NodeMove, NodeMoved, NodeRemoved

router = ApiRouter(prefix="/api/nodes", tags=["nodes"], responses=problems(400, 401, 429, 500, 503))

_ANYWHERE: Final = NodeMove()

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
    return _joinable(fleet, services, *fleet.admin.add(new_record(new)))


@router.patch("/{node_id}", responses=problems(404))
@requires(Scope.ADMIN, pool=Pool.SLOW)
def change_node(node_id: NodeId, change: NodeChange, fleet: FleetDep, services: ServicesDep) -> Node:
    """Change a node. Its keys stay as they are; a lost one is waited for by nothing."""
    changed = fleet.admin.change(node_id, partial(changed_record, change))
    return node_answer(fleet.nodes.get(str(changed.ref.id)), services.xray_version)


@router.post("/{node_id}/replace", responses=problems(404))
@requires(Scope.ADMIN, pool=Pool.SLOW)
def replace_node(node_id: NodeId, fleet: FleetDep, services: ServicesDep) -> NodeMade:
    """Make the command by which a new machine takes the node's place: once, within 15 minutes.

    It gets the node's ports, key pair and keys, so that every link stays valid where the address leads to it. Until it
    has joined, all stays as it is; then the former agent's token opens nothing.
    """
    return _joinable(fleet, services, *fleet.admin.replace(node_id))


@router.post("/{node_id}/move", responses=problems(404))
@requires(Scope.ADMIN, pool=Pool.SLOW)
def move_keys(node_id: NodeId, fleet: FleetDep, where: NodeMove = _ANYWHERE) -> NodeMoved:
    """Give the node's keys places on another node, with new links that work now; each key as a whole, or not at all.

    Keys keep their ids, UUIDs, names, limits and traffic. A node that is silent or lost is not waited for: its old
    links end the moment that it is back. A repeat goes on with the keys that are left.
    """
    to = None if where.to is None else str(where.to)
    return moved_answer(fleet.mover.move(node_id, to))


@router.delete("/{node_id}", responses=problems(404))
@requires(Scope.ADMIN, pool=Pool.SLOW)
def remove_node(node_id: NodeId, fleet: FleetDep) -> NodeRemoved:
    """Remove a node that has no keys, or one that is lost, with its keys."""
    removed = fleet.admin.remove(node_id)
    return NodeRemoved(message=f"Node {removed.ref.name} removed")


def _joinable(fleet: Fleet, services: Services, record: NodeRecord, join: Join, token: str) -> NodeMade:
    """Return a node with the command by which an agent joins as it."""
    node = node_answer(fleet.nodes.get(str(record.ref.id)), services.xray_version)
    command = fleet.join_command(token)
    return NodeMade(node=node, join_command=command, join_token=token, expires_at=join.expires_at)
