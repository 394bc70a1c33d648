"""`/api/traffic`: what all keys together use, and each of them."""

import time

from fastapi import APIRouter

from vpnkeys.api.convert.traffic import point_answer
from vpnkeys.api.deps import ServerDep, reading
from vpnkeys.api.problems import problems
from vpnkeys.api.routes.traffic import From, Until, span
from vpnkeys.bootstrap import Server
from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.traffic import Step, Total
from vpnkeys.wire.traffic import AllHistory, AllTraffic, KeyUsage

router = APIRouter(
    prefix="/api/traffic", tags=["traffic"], dependencies=[reading], responses=problems(400, 401, 429, 500, 503)
)

_NEVER = Total(0)


def traffic_of_all(server: Server) -> AllTraffic:
    """Return the traffic of a server's keys at this moment. Raises StoreUnavailable."""
    keys, totals = server.keys.list(), server.traffic.store.totals()
    online = _online(server, keys)
    shown = tuple(
        KeyUsage(
            key_id=key.id,
            total_bytes=(total := totals.get(key.uuid, _NEVER)).total_bytes,
            devices=None if online is None else online.get(key.uuid, 0),
            last_seen=total.last_seen_at,
        )
        for key in keys
    )
    return AllTraffic(timestamp=int(time.time()), total_bytes=sum(one.total_bytes for one in shown), keys=shown)


def _online(server: Server, keys: tuple[Key, ...]) -> dict[str, int] | None:
    try:
        return server.traffic.online_by_key(keys)
    except XrayUnavailable:
        return None


@router.get("")
def get_traffic_of_all(server: ServerDep) -> AllTraffic:
    """What each key uses and from how many addresses it is online."""
    return traffic_of_all(server)


@router.get("/history")
def get_history_of_all(
    server: ServerDep,
    since: From = None,
    until: Until = None,
    step: Step = Step.HOUR,
) -> AllHistory:
    """What all keys together used by hour (90 days long, then by day) or day, UTC."""
    begin, end = span(since, until, step, server.traffic.clock.now())
    points = tuple(point_answer(point) for point in server.traffic.history(None, begin, end, step))
    return AllHistory(step=step, since=begin, until=end, points=points)
