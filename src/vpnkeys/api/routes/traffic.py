"""`/api/keys/{key_id}/traffic` and `/online`: what a key has used, and who is there."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from vpnkeys.api.deps import KeyId, ServerDep, changing_keys, reading
from vpnkeys.api.problems import problems
from vpnkeys.api.schemas import Expiry
from vpnkeys.api.together import Together
from vpnkeys.domain.errors import InvalidSpan
from vpnkeys.domain.key import Key
from vpnkeys.domain.traffic import Gap, Point, Step, Traffic

router = APIRouter(
    prefix="/api/keys/{key_id}",
    tags=["traffic"],
    dependencies=[reading],
    responses=problems(401, 404, 429, 500, 503),
)

_DEFAULT_SPAN = {Step.HOUR: timedelta(days=1), Step.DAY: timedelta(days=30)}

Seconds = Annotated[
    str, Field(description="ISO 8601 to the second, UTC, without an offset", examples=["2025-11-21T16:00:00"])
]


def seconds(moment: datetime) -> str:
    """A moment as this part of the API writes it."""
    return moment.isoformat(timespec="seconds")


From = Annotated[Expiry | None, Query(alias="from", description="default: a day (step=day: 30 days) before `to`")]
Until = Annotated[Expiry | None, Query(alias="to", description="default: now")]


def span(since: datetime | None, until: datetime | None, step: Step, now: datetime) -> tuple[datetime, datetime]:
    """The span that is asked for. Raises InvalidSpan."""
    end = until or now
    begin = since or end - min(_DEFAULT_SPAN[step], end - datetime.min)  # noqa: DTZ901 - UTC without an offset
    if begin > end:
        raise InvalidSpan("`from` is later than `to`")
    return begin, end


def _now() -> str:
    return seconds(datetime.now(UTC).replace(tzinfo=None))


class GapOut(BaseModel):
    """A time in which bytes may have passed uncounted, because Xray died before its next sample."""

    since: Seconds
    until: Seconds

    @classmethod
    def of(cls, gap: Gap) -> Self:
        """A gap as the API shows it."""
        return cls(since=seconds(gap.since), until=seconds(gap.until))


class TrafficOut(BaseModel):
    """What a key has used since it was made or last reset, up and down together."""

    status: Literal["success"] = "success"
    key_id: str
    key_uuid: str
    total_bytes: int
    timestamp: Seconds
    gaps: list[GapOut]

    @classmethod
    def of(cls, key: Key, traffic: Traffic) -> Self:
        """A key's traffic as the API shows it."""
        gaps = [GapOut.of(gap) for gap in traffic.gaps]
        return cls(key_id=key.id, key_uuid=key.uuid, total_bytes=traffic.total_bytes, timestamp=_now(), gaps=gaps)


class TrafficReset(BaseModel):
    """The key's total starts again from zero."""

    status: Literal["success"] = "success"
    message: Literal["Traffic reset successfully"] = "Traffic reset successfully"
    key_id: str
    key_uuid: str
    timestamp: Seconds


@router.get("/traffic")
async def get_traffic(key_id: KeyId, server: ServerDep, request: Request) -> TrafficOut:
    """What a key has used, with Xray's counters of this moment."""
    key = server.keys.get(key_id)
    sampled: Together[str, Traffic] = request.app.state.sampled
    return TrafficOut.of(key, await sampled.ask(key.uuid))


@router.post("/traffic/reset", dependencies=[changing_keys])
def reset_traffic(key_id: KeyId, server: ServerDep) -> TrafficReset:
    """Let the key's total start again from zero."""
    key = server.keys.get(key_id)
    server.traffic.reset(key)
    server.enforcer.judge_now()  # a key that its traffic had stopped works again when this answers
    return TrafficReset(key_id=key.id, key_uuid=key.uuid, timestamp=_now())


class PointOut(BaseModel):
    """What was counted in the hour or day that began at `time`."""

    time: Seconds
    up_bytes: int
    down_bytes: int

    @classmethod
    def of(cls, point: Point) -> Self:
        """A point as the API shows it."""
        return cls(time=seconds(point.begin), up_bytes=point.usage.up, down_bytes=point.usage.down)


class History(BaseModel):
    """What a key used, by hour or day; hours and days in which nothing was counted are left out."""

    key_id: str
    key_uuid: str
    step: Step
    since: Annotated[Seconds, Field(serialization_alias="from")]
    until: Annotated[Seconds, Field(serialization_alias="to")]
    points: list[PointOut]


class Online(BaseModel):
    """Whether a key's customer is online; addresses are counted, and neither told nor kept."""

    key_id: str
    key_uuid: str
    online: bool
    devices: int
    last_seen: Seconds | None
    timestamp: Seconds


@router.get("/traffic/history", responses=problems(400))
def get_history(
    key_id: KeyId,
    server: ServerDep,
    since: From = None,
    until: Until = None,
    step: Step = Step.HOUR,
) -> History:
    """What a key used by hour (90 days long, then by day) or day, UTC."""
    key = server.keys.get(key_id)
    begin, end = span(since, until, step, server.traffic.clock.now())
    points = server.traffic.history(key, begin, end, step)
    return History(
        key_id=key.id,
        key_uuid=key.uuid,
        step=step,
        since=seconds(begin),
        until=seconds(end),
        points=[PointOut.of(point) for point in points],
    )


@router.get("/online")
def get_online(key_id: KeyId, server: ServerDep) -> Online:
    """Whether a key's customer is online now, from how many addresses, and when last."""
    key = server.keys.get(key_id)
    presence = server.traffic.online(key)
    seen = presence.last_seen_at
    return Online(
        key_id=key.id,
        key_uuid=key.uuid,
        online=presence.devices > 0,
        devices=presence.devices,
        last_seen=None if seen is None else seconds(seen),
        timestamp=_now(),
    )
