"""Serves `/api/keys/{key_id}/traffic` and `/online`: what a key has used, and whether its customer is online."""

from vpnkeys.api.auth.access import requires
from vpnkeys.api.convert.traffic import now, point_answer, traffic_answer
from vpnkeys.api.deps import EnforcerDep, KeyDep, TrafficDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.api.spans import From, Until, span
from vpnkeys.domain.token import Scope
from vpnkeys.domain.traffic import Step
from vpnkeys.server.pools import Pool
from vpnkeys.wire.traffic import Online, Traffic, TrafficHistory, TrafficReset

router = ApiRouter(
    prefix="/api/keys/{key_id}",
    tags=["traffic"],
    responses=problems(401, 404, 429, 500, 503),
)


@router.get("/traffic")
@requires(Scope.READ)
async def get_traffic(key: KeyDep, traffic: TrafficDep) -> Traffic:
    """Return what a key has used, with Xray's counters of this moment."""
    return traffic_answer(key, await traffic.sampled(key), traffic.usage.of(key))


@router.post("/traffic/reset")
@requires(Scope.KEYS)
def reset_traffic(key: KeyDep, traffic: TrafficDep, enforcer: EnforcerDep) -> TrafficReset:
    """Let the key's total start again from zero."""
    traffic.reset(key)
    enforcer.enforce_now()  # so that a key stopped by its traffic limit works again when this answers
    return TrafficReset(
        status="success",
        message="Traffic reset successfully",
        key_id=key.id,
        key_uuid=key.uuid,
        timestamp=now(),
    )


@router.get("/traffic/history", responses=problems(400))
@requires(Scope.READ, pool=Pool.SLOW)
def get_history(
    key: KeyDep,
    traffic: TrafficDep,
    since: From = None,
    until: Until = None,
    step: Step = Step.HOUR,
) -> TrafficHistory:
    """Return what a key used by hour (90 days long, then by day) or day, UTC."""
    begin, end = span(since, until, step, traffic.clock.now())
    points = traffic.history(key, begin, end, step)
    return TrafficHistory(
        key_id=key.id,
        key_uuid=key.uuid,
        step=step,
        since=begin,
        until=end,
        points=tuple(point_answer(point) for point in points),
    )


@router.get("/online")
@requires(Scope.READ)
def get_online(key: KeyDep, traffic: TrafficDep) -> Online:
    """Return whether a key's customer is online now, from how many devices, and when last."""
    presence = traffic.online(key)
    return Online(
        key_id=key.id,
        key_uuid=key.uuid,
        online=presence.devices > 0,
        devices=presence.devices,
        last_seen=presence.last_seen_at,
        timestamp=now(),
    )
