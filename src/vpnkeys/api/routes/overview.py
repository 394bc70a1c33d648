"""Serves `/api/traffic`: the traffic of all keys together, and of each."""

from vpnkeys.api.auth.access import requires
from vpnkeys.api.convert.traffic import point_answer, traffic_of_all
from vpnkeys.api.deps import KeysDep, TrafficDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.api.spans import From, Until, span
from vpnkeys.domain.token import Scope
from vpnkeys.domain.traffic import Step
from vpnkeys.server.pools import Pool
from vpnkeys.wire.traffic import AllHistory, AllTraffic

router = ApiRouter(prefix="/api/traffic", tags=["traffic"], responses=problems(400, 401, 429, 500, 503))


@router.get("")
@requires(Scope.READ, pool=Pool.SLOW)
def get_traffic_of_all(keys: KeysDep, traffic: TrafficDep) -> AllTraffic:
    """Return what each key uses, as last sampled, and from how many devices it is online now."""
    return traffic_of_all(keys.list(), traffic)


@router.get("/history")
@requires(Scope.READ, pool=Pool.SLOW)
def get_history_of_all(
    traffic: TrafficDep,
    since: From = None,
    until: Until = None,
    step: Step = Step.HOUR,
) -> AllHistory:
    """Return what all keys together used by hour (90 days long, then by day) or day, UTC."""
    begin, end = span(since, until, step, traffic.clock.now())
    points = tuple(point_answer(point) for point in traffic.history(None, begin, end, step))
    return AllHistory(step=step, since=begin, until=end, points=points)
