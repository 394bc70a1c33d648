"""`/api/traffic`: what all keys together use, and each of them."""

import time
from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from vpnkeys.api.deps import ServerDep, reading
from vpnkeys.api.problems import problems
from vpnkeys.api.routes.traffic import From, PointOut, Seconds, Until, seconds, span
from vpnkeys.bootstrap import Server
from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.traffic import Step, Total

router = APIRouter(
    prefix="/api/traffic", tags=["traffic"], dependencies=[reading], responses=problems(400, 401, 429, 500, 503)
)

_NEVER = Total(0)


class KeyTraffic(BaseModel):
    """What one key uses. `devices` is from how many addresses it is online now; None while Xray does not answer."""

    key_id: str
    total_bytes: int
    devices: int | None
    last_seen: Seconds | None


class AllTraffic(BaseModel):
    """What all keys use, as last sampled: at most ten seconds ago, or two while somebody watches."""

    timestamp: int
    total_bytes: int
    keys: list[KeyTraffic]

    @classmethod
    def of(cls, server: Server) -> Self:
        """The traffic of a server's keys at this moment. Raises StoreUnavailable."""
        keys, totals = server.keys.list(), server.traffic.store.totals()
        online = _online(server, keys)
        shown = [
            KeyTraffic(
                key_id=key.id,
                total_bytes=(total := totals.get(key.uuid, _NEVER)).total_bytes,
                devices=None if online is None else online.get(key.uuid, 0),
                last_seen=None if total.last_seen_at is None else seconds(total.last_seen_at),
            )
            for key in keys
        ]
        return cls(timestamp=int(time.time()), total_bytes=sum(one.total_bytes for one in shown), keys=shown)


class AllHistory(BaseModel):
    """What all keys that are there used, by hour or day."""

    step: Step
    since: Annotated[Seconds, Field(serialization_alias="from")]
    until: Annotated[Seconds, Field(serialization_alias="to")]
    points: list[PointOut]


def _online(server: Server, keys: tuple[Key, ...]) -> dict[str, int] | None:
    try:
        return server.traffic.online_by_key(keys)
    except XrayUnavailable:
        return None


@router.get("")
def get_traffic_of_all(server: ServerDep) -> AllTraffic:
    """What each key uses and from how many addresses it is online."""
    return AllTraffic.of(server)


@router.get("/history")
def get_history_of_all(
    server: ServerDep,
    since: From = None,
    until: Until = None,
    step: Step = Step.HOUR,
) -> AllHistory:
    """What all keys together used by hour (90 days long, then by day) or day, UTC."""
    begin, end = span(since, until, step, server.traffic.clock.now())
    points = [PointOut.of(point) for point in server.traffic.history(None, begin, end, step)]
    return AllHistory(step=step, since=seconds(begin), until=seconds(end), points=points)
