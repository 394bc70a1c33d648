"""What a repair would do, before it is asked for."""

import time
from collections.abc import Mapping
from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from vpnkeys.api.deps import ServerDep, reading
from vpnkeys.api.port_schemas import MoveOut
from vpnkeys.api.problems import problems
from vpnkeys.api.system_schemas import TargetOut
from vpnkeys.domain.inbound import KEY_TAG_PREFIX, AnyInbound
from vpnkeys.domain.plan import Observed, Plan

router = APIRouter(
    prefix="/api/system", tags=["system"], dependencies=[reading], responses=problems(400, 401, 429, 500, 503)
)


class PlannedInbound(BaseModel):
    """An inbound that would come or go. `key_id` is empty for those that are no key's."""

    tag: str
    port: int | None
    key_id: str

    @classmethod
    def of(cls, tag: str, inbound: AnyInbound | None) -> Self:
        """An inbound as the API shows it."""
        key_id = tag.removeprefix(KEY_TAG_PREFIX) if tag.startswith(KEY_TAG_PREFIX) else ""
        return cls(tag=tag, port=inbound.port if inbound else None, key_id=key_id)


class PlannedFile(BaseModel):
    """What would become of config.json; `problem` says why it cannot be read, if so."""

    rewrite: bool
    problem: str


class SyncPlan(BaseModel):
    """What `POST /api/system/sync-config` would do now. `running` is false while Xray does not answer."""

    in_sync: bool
    running: bool
    file: PlannedFile
    remove: list[PlannedInbound]
    add: list[PlannedInbound]
    cut: Annotated[list[int], Field(description="ports whose open connections would end")]
    timestamp: int

    @classmethod
    def of(cls, observed: Observed, todo: Plan) -> Self:
        """A plan as the API shows it."""
        running: Mapping[str, AnyInbound] = observed.running.inbounds if observed.running else {}
        return cls(
            in_sync=not todo and observed.running is not None,
            running=observed.running is not None,
            file=PlannedFile(rewrite=todo.file is not None, problem=observed.file.problem),
            remove=[PlannedInbound.of(tag, running.get(tag)) for tag in todo.remove],
            add=[PlannedInbound.of(inbound.tag, inbound) for inbound in todo.add],
            cut=list(todo.cut),
            timestamp=int(time.time()),
        )


class PortsPlan(BaseModel):
    """What `POST /api/system/ports/reset` would do now: these keys' links would stop working."""

    changed: list[MoveOut]
    timestamp: int


class Targets(BaseModel):
    """The targets as they were last seen."""

    targets: list[TargetOut]
    timestamp: int


@router.get("/plan")
def get_plan(server: ServerDep) -> SyncPlan:
    """What bringing config.json and the running Xray to the database would change; nothing is changed."""
    return SyncPlan.of(*server.reconciler.compare())


@router.get("/ports/plan")
def get_ports_plan(server: ServerDep) -> PortsPlan:
    """Which keys would get other ports; nothing is changed."""
    moves = [MoveOut.of(move) for move in server.system.planned_moves()]
    return PortsPlan(changed=moves, timestamp=int(time.time()))


@router.get("/targets")
async def get_targets(server: ServerDep) -> Targets:
    """How the REALITY targets are; they are looked at every minute."""
    seen = server.reconciler.node.targets_seen()
    return Targets(targets=[TargetOut.of(report) for report in seen], timestamp=int(time.time()))
