"""Converts nodes to answers."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from vpnkeys import __version__
from vpnkeys.domain.errors import InvalidChoice
from vpnkeys.domain.key import Key, Keys
from vpnkeys.domain.nodes import LOCAL, NodeRecord, NodeRef, NodeState, parse_node_name
from vpnkeys.domain.portpool import PortRange, parse_range
from vpnkeys.domain.reached import parse_host
from vpnkeys.service.nodes.moving import Moves
from vpnkeys.service.nodes.nodes import NodeReport
from vpnkeys.wire import nodes as wire
from vpnkeys.wire.ports import AssignedPort, PortTable, UsedPort


def node_answer(report: NodeReport, xray_version: str) -> wire.Node:
    """Return a node as the API shows it; the built-in one has this program and this server's Xray."""
    record, following = report.record, report.following
    return wire.Node(
        id=record.ref.id,
        name=record.ref.name,
        group=record.group,
        address=report.address,
        state=str(report.state),
        port_range=None if report.pool is None else str(report.pool),
        max_keys=record.max_keys,
        weight=record.weight,
        keys=report.keys,
        seen_at=report.seen_at,
        applied=following.applied,
        desired=following.desired,
        lag_s=round(following.lag_s, 3),
        version=__version__ if record.ref.id == LOCAL.id else report.version,
        xray_version=xray_version if record.ref.id == LOCAL.id else report.xray_version,
        names_ready=report.names_ready,
        places=report.places,
        traffic_bytes=report.traffic.total,
        failed=report.failed,
        cpu_share=_rounded(report.host.cpu_share),
        clock_ahead_s=_rounded(report.host.clock_ahead_s),
        public_key=report.public_key,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def new_record(new: wire.NewNode) -> NodeRecord:
    """Return the node to be made, its texts parsed. Raises InvalidChoice."""
    return NodeRecord(
        NodeRef(0, parse_node_name(new.name)),
        parse_node_name(new.group, "group"),
        new.weight,
        new.max_keys,
        address=address_of(new.address) if new.address else "",
        ports=None if new.port_range is None else ports_of(new.port_range),
    )


def changed_record(change: wire.NodeChange, record: NodeRecord) -> NodeRecord:
    """Return the node with a change applied; fields that were not sent stay. Raises InvalidChoice."""
    given: dict[str, Any] = {name: getattr(change, name) for name in change.model_fields_set}
    if "name" in given:
        given["ref"] = record.ref._replace(name=parse_node_name(given.pop("name")))
    if "group" in given:
        given["group"] = parse_node_name(given["group"], "group")
    if "address" in given:
        given["address"] = address_of(given["address"])
    if "state" in given:
        given["state"] = NodeState(given["state"])
    return replace(record, **given)


def moved_answer(moves: Moves) -> wire.NodeMoved:
    """Return what became of the keys of a node."""
    return wire.NodeMoved(
        node=moves.node.name,
        moved=tuple(
            wire.KeyMoved(
                key_id=one.now.id,
                uuid=one.now.uuid,
                name=one.now.name,
                old=wire.KeyPlace(node=one.was.node.name, port=one.was.port, link=one.old_link),
                new=wire.KeyPlace(node=one.now.node.name, port=one.now.port, link=one.link),
            )
            for one in moves.moved
        ),
        failed=tuple(
            wire.KeyNotMoved(key_id=key.id, name=key.name, code=error.code, detail=str(error))
            for key, error in moves.failed
        ),
        has_stopped=moves.has_stopped,
    )


def address_of(text: str) -> str:
    """Return the host in links. Raises InvalidChoice."""
    try:
        return parse_host(text)
    except ValueError as error:
        raise InvalidChoice(f"address: {error}") from error


def ports_of(text: str) -> PortRange:
    """Return a range of ports. Raises InvalidChoice."""
    try:
        return parse_range(text)
    except ValueError as error:
        raise InvalidChoice(f"port_range: {error}") from error


def parts(nodes: Iterable[NodeRef]) -> tuple[wire.NodePart, ...]:
    """Return the nodes that an answer is about."""
    return tuple(wire.NodePart(node=node.name, state=NodeState.UP) for node in nodes)


def synced_parts(nodes: Iterable[NodeRef], *, synchronized: bool) -> tuple[wire.NodeSync, ...]:
    """Return the nodes that an answer is about, and whether config.json of each follows the database."""
    return tuple(wire.NodeSync(node=node.name, state=NodeState.UP, synchronized=synchronized) for node in nodes)


def checked_parts(nodes: Iterable[NodeRef], *, valid: bool) -> tuple[wire.NodeCheck, ...]:
    """Return the nodes that an answer is about, and whether nothing is wrong on each."""
    return tuple(wire.NodeCheck(node=node.name, state=NodeState.UP, valid=valid) for node in nodes)


def port_part(node: NodeRef, state: NodeState, pool: PortRange, keys: Keys) -> wire.NodePorts:
    """Return a node that an answer is about, with its ports."""
    return wire.NodePorts(
        node=node.name,
        state=state,
        used_ports=len(keys),
        available_ports=len({*pool.ports} - {key.port for key in keys}),
        max_ports=len(pool),
        port_range=str(pool),
    )


def port_table(keys: Iterable[Key]) -> PortTable:
    """Return which key has which port; `NODE:PORT` where an older key has the same port elsewhere."""
    by_port = sorted(keys, key=lambda key: (key.port, key.created_at))
    # A key that never moved has had its port since it was made.
    moments = [key.port_assigned_at or key.created_at for key in by_port]
    used, assigned = dict[str, UsedPort](), dict[str, AssignedPort]()
    for key, at in zip(by_port, moments, strict=True):
        port = str(key.port)
        used[port if port not in used else f"{key.node.name}:{port}"] = UsedPort(
            uuid=key.uuid, key_id=key.id, key_name=key.name, assigned_at=at, is_active=key.is_active
        )
        assigned[key.uuid] = AssignedPort(port=key.port, key_id=key.id, key_name=key.name, assigned_at=at)
    return PortTable(
        used_ports=used,
        port_assignments=assigned,
        created_at=min(moments, default=None),
        last_updated=max(moments, default=None),
    )
