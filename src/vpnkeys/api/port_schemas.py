"""What the endpoints about ports say over the wire."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field

from vpnkeys.api.schemas import CreatedAt
from vpnkeys.api.system_schemas import Timestamp
from vpnkeys.service.system import Move


class UsedPort(BaseModel):
    """Whose port it is."""

    uuid: str
    key_id: str
    key_name: str
    assigned_at: CreatedAt
    is_active: bool


class AssignedPort(BaseModel):
    """Which port a key has."""

    port: int
    key_id: str
    key_name: str
    assigned_at: CreatedAt


class PortAssignments(BaseModel):
    """Ports by number and by UUID."""

    used_ports: dict[str, UsedPort]
    port_assignments: dict[str, AssignedPort]
    created_at: CreatedAt | None
    last_updated: CreatedAt | None


class Ports(BaseModel):
    """The range of ports and who has which."""

    port_assignments: PortAssignments
    used_ports: int
    available_ports: int
    max_ports: int
    port_range: Annotated[str, Field(examples=["10001-10100"])]
    timestamp: Timestamp


class MoveOut(BaseModel):
    """A key that got another port: its old link no longer works."""

    key_id: str
    uuid: str
    name: str
    old_port: int
    new_port: int

    @classmethod
    def of(cls, move: Move) -> Self:
        """A move as the API shows it."""
        key = move.key
        return cls(key_id=key.id, uuid=key.uuid, name=key.name, old_port=move.old_port, new_port=key.port)


class PortsReset(BaseModel):
    """All ports were handed out again."""

    message: Literal["All ports reset successfully"] = "All ports reset successfully"
    status: Literal["reset"] = "reset"
    changed: list[MoveOut]
    timestamp: Timestamp


class PortValidation(BaseModel):
    """What is wrong with ports, in words."""

    valid: bool
    issues: list[str]
    total_assignments: int
    total_used_ports: int


class PortsStatus(BaseModel):
    """Ports, validated."""

    validation: PortValidation
    timestamp: Timestamp
