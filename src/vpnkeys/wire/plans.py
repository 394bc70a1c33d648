"""What a repair would do, before it is asked for; and the REALITY targets."""

from typing import Annotated

from pydantic import Field

from vpnkeys.wire.base import Answer, UnixSeconds
from vpnkeys.wire.nodes import NodePart


class PlannedInbound(Answer):
    """An inbound that would come or go. `key_id` is empty for those that are no key's."""

    tag: str
    port: int | None = None
    key_id: str = ""


class PlannedFile(Answer):
    """What would become of config.json; `problem` says why it cannot be read, if so."""

    rewrite: bool
    problem: str = ""


class SyncPlan(Answer):
    """What `POST /api/system/sync-config` would do now. `running` is false while Xray does not answer."""

    in_sync: bool
    running: bool
    file: PlannedFile
    remove: tuple[PlannedInbound, ...] = ()
    add: tuple[PlannedInbound, ...] = ()
    cut: Annotated[tuple[int, ...], Field(description="ports whose open connections would end")] = ()
    timestamp: UnixSeconds
    nodes: Annotated[tuple[NodePart, ...], Field(description="the nodes that this is about")] = ()


class Move(Answer):
    """A key that gets another port: its old link stops working."""

    key_id: str
    uuid: str
    name: str
    old_port: int
    new_port: int


class PortsPlan(Answer):
    """What `POST /api/system/ports/reset` would do now: these keys' links would stop working."""

    changed: tuple[Move, ...]
    timestamp: UnixSeconds
    nodes: Annotated[tuple[NodePart, ...], Field(description="the nodes that this is about")] = ()


class AffectedKey(Answer):
    """An active key with which nobody gets in while the target of its server name is not fit."""

    key_id: str
    name: str


class TargetState(Answer):
    """A REALITY target: whether it is fit, and what is wrong with it."""

    server_name: str
    target: str
    usable: bool
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    active_keys: Annotated[int, Field(description="how many active keys have this server name")] = 0
    affected_keys: Annotated[
        tuple[AffectedKey, ...],
        Field(description="these keys, while the target is not usable: nobody gets in with them"),
    ] = ()


class Targets(Answer):
    """The targets as they were last seen."""

    targets: tuple[TargetState, ...]
    timestamp: UnixSeconds
    nodes: Annotated[tuple[NodePart, ...], Field(description="the nodes that this is about")] = ()
