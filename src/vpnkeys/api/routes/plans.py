"""Serves `/api/system/…/plan`: what a repair would do."""

import time
from collections.abc import Iterable, Mapping

from vpnkeys.api.auth.access import requires
from vpnkeys.api.convert.nodes import parts
from vpnkeys.api.convert.system import move_answer, target_answer
from vpnkeys.api.deps import AskedNodesDep, ReporterDep, SystemDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.inbound import AnyInbound
from vpnkeys.domain.key import KEY_TAG_PREFIX
from vpnkeys.domain.nodes import NodeRef
from vpnkeys.domain.plan import Observed, Plan
from vpnkeys.domain.token import Scope
from vpnkeys.server.pools import Pool
from vpnkeys.wire.plans import PlannedFile, PlannedInbound, PortsPlan, SyncPlan, Targets

router = ApiRouter(prefix="/api/system", tags=["system"], responses=problems(400, 401, 404, 429, 500, 503))


@router.get("/plan")
@requires(Scope.READ, pool=Pool.SLOW)
def get_plan(reporter: ReporterDep, asked: AskedNodesDep) -> SyncPlan:
    """Return what bringing config.json and the running Xray to the database would change; nothing is changed."""
    return _plan_answer(*reporter.plan(), asked)


@router.get("/ports/plan")
@requires(Scope.READ, pool=Pool.SLOW)
def get_ports_plan(system: SystemDep, asked: AskedNodesDep) -> PortsPlan:
    """Return which keys would get other ports; nothing is changed."""
    moves = tuple(move_answer(move) for move in system.planned_moves())
    return PortsPlan(changed=moves, timestamp=int(time.time()), nodes=parts(asked))


@router.get("/targets")
@requires(Scope.READ)
async def get_targets(reporter: ReporterDep, asked: AskedNodesDep) -> Targets:
    """Return what the last check of the REALITY targets found; they are checked every minute."""
    seen = tuple(target_answer(used) for used in reporter.targets())
    return Targets(targets=seen, timestamp=int(time.time()), nodes=parts(asked))


def _plan_answer(observed: Observed, todo: Plan, nodes: Iterable[NodeRef]) -> SyncPlan:
    running: Mapping[str, AnyInbound] = observed.running.inbounds if observed.running else {}
    return SyncPlan(
        in_sync=not todo and observed.running is not None,
        running=observed.running is not None,
        file=PlannedFile(rewrite=todo.file is not None, problem=observed.file.problem),
        remove=tuple(_inbound_answer(tag, running.get(tag)) for tag in todo.remove),
        add=tuple(_inbound_answer(inbound.tag, inbound) for inbound in todo.add),
        cut=tuple(todo.cut),
        timestamp=int(time.time()),
        nodes=parts(nodes),
    )


def _inbound_answer(tag: str, inbound: AnyInbound | None) -> PlannedInbound:
    key_id = tag.removeprefix(KEY_TAG_PREFIX) if tag.startswith(KEY_TAG_PREFIX) else ""
    return PlannedInbound(tag=tag, port=inbound.port if inbound else None, key_id=key_id)
