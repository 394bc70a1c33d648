"""Ports: which key has which, and what is wrong with them."""

from typing import Annotated

from pydantic import Field

from vpnkeys.wire.base import Added, Answer, Microseconds, OneOf, UnixSeconds
from vpnkeys.wire.keys import Done
from vpnkeys.wire.nodes import NodeCheck, NodePart, NodePorts
from vpnkeys.wire.plans import Move


class UsedPort(Answer):
    """Whose port it is."""

    uuid: Added[str] = None
    key_id: Added[str] = None
    key_name: Added[str] = None
    assigned_at: Added[Microseconds] = None
    is_active: Added[bool] = None


class AssignedPort(Answer):
    """Which port a key has."""

    port: Added[int] = None
    key_id: Added[str] = None
    key_name: Added[str] = None
    assigned_at: Added[Microseconds] = None


class PortTable(Answer):
    """Ports by number and by UUID."""

    used_ports: dict[str, UsedPort] = Field(default_factory=dict)
    port_assignments: dict[str, AssignedPort] = Field(default_factory=dict)
    created_at: Microseconds | None = None
    last_updated: Microseconds | None = None


class Ports(Answer):
    """The range of ports and who has which."""

    port_assignments: PortTable
    used_ports: Annotated[int, Field(description="how many ports of the range have a key")]
    available_ports: Annotated[int, Field(description="how many ports of the range have none")]
    max_ports: Annotated[int, Field(description="how many ports the range has")]
    port_range: Annotated[str, Field(examples=["10001-10100"])]
    timestamp: UnixSeconds
    nodes: Annotated[tuple[NodePorts, ...], Field(description="the nodes that this is about")] = ()


class PortsReset(Done):
    """All ports were handed out again; keys in `changed` have another one, and need another link."""

    message: Annotated[str, OneOf("All ports reset successfully")]
    status: Annotated[str, OneOf("reset")]
    changed: tuple[Move, ...] = ()
    timestamp: UnixSeconds
    nodes: Annotated[tuple[NodePart, ...], Field(description="the nodes that this is about")] = ()


class PortsValidation(Answer):
    """What is wrong with ports, in words."""

    valid: bool
    issues: tuple[str, ...] = ()
    total_assignments: Added[int] = None
    total_used_ports: Added[int] = None


class PortsStatus(Answer):
    """Ports, validated."""

    validation: PortsValidation
    timestamp: UnixSeconds
    nodes: Annotated[tuple[NodeCheck, ...], Field(description="the nodes that this is about")] = ()
