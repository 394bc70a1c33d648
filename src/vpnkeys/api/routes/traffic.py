"""`/api/keys/{key_id}/traffic` and `/online`: what a key has used, and who is there."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request

from vpnkeys.api.convert.traffic import now, point_answer, traffic_answer
from vpnkeys.api.deps import KeyId, ServerDep, changing_keys, reading
from vpnkeys.api.problems import problems
from vpnkeys.api.together import Together
from vpnkeys.domain.errors import InvalidSpan
from vpnkeys.domain.traffic import Step
from vpnkeys.domain.traffic import Traffic as Used
from vpnkeys.wire.base import Moment
from vpnkeys.wire.traffic import Online, Traffic, TrafficHistory, TrafficReset

router = APIRouter(
    prefix="/api/keys/{key_id}",
    tags=["traffic"],
    dependencies=[reading],
    responses=problems(401, 404, 429, 500, 503),
)

_DEFAULT_SPAN = {Step.HOUR: timedelta(days=1), Step.DAY: timedelta(days=30)}

From = Annotated[Moment | None, Query(alias="from", description="default: a day (step=day: 30 days) before `to`")]
Until = Annotated[Moment | None, Query(alias="to", description="default: now")]


def span(since: datetime | None, until: datetime | None, step: Step, now: datetime) -> tuple[datetime, datetime]:
    """The span that is asked for. Raises InvalidSpan."""
    end = until or now
    begin = since or end - min(_DEFAULT_SPAN[step], end - datetime.min)  # noqa: DTZ901 - UTC without an offset
    if begin > end:
        raise InvalidSpan("`from` is later than `to`")
    return begin, end


@router.get("/traffic")
async def get_traffic(key_id: KeyId, server: ServerDep, request: Request) -> Traffic:
    """What a key has used, with Xray's counters of this moment."""
    key = server.keys.get(key_id)
    sampled: Together[str, Used] = request.app.state.sampled
    return traffic_answer(key, await sampled.ask(key.uuid))


@router.post("/traffic/reset", dependencies=[changing_keys])
def reset_traffic(key_id: KeyId, server: ServerDep) -> TrafficReset:
    """Let the key's total start again from zero."""
    key = server.keys.get(key_id)
    server.traffic.reset(key)
    server.enforcer.judge_now()  # a key that its traffic had stopped works again when this answers
    return TrafficReset(
        status="success",
        message="Traffic reset successfully",
        key_id=key.id,
        key_uuid=key.uuid,
        timestamp=now(),
    )


@router.get("/traffic/history", responses=problems(400))
def get_history(
    key_id: KeyId,
    server: ServerDep,
    since: From = None,
    until: Until = None,
    step: Step = Step.HOUR,
) -> TrafficHistory:
    """What a key used by hour (90 days long, then by day) or day, UTC."""
    key = server.keys.get(key_id)
    begin, end = span(since, until, step, server.traffic.clock.now())
    points = server.traffic.history(key, begin, end, step)
    return TrafficHistory(
        key_id=key.id,
        key_uuid=key.uuid,
        step=step,
        since=begin,
        until=end,
        points=tuple(point_answer(point) for point in points),
    )


@router.get("/online")
def get_online(key_id: KeyId, server: ServerDep) -> Online:
    """Whether a key's customer is online now, from how many addresses, and when last."""
    key = server.keys.get(key_id)
    presence = server.traffic.online(key)
    return Online(
        key_id=key.id,
        key_uuid=key.uuid,
        online=presence.devices > 0,
        devices=presence.devices,
        last_seen=presence.last_seen_at,
        timestamp=now(),
    )
