"""Converts traffic to answers."""

import time
from datetime import UTC, datetime

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Window, WindowUsage
from vpnkeys.domain.traffic import Point, Total, Traffic
from vpnkeys.service.traffic import TrafficService
from vpnkeys.wire import traffic as wire

_NEVER = Total(0)


def now() -> datetime:
    """Return the time of an answer, UTC without an offset."""
    return datetime.now(UTC).replace(tzinfo=None)


def traffic_answer(key: Key, traffic: Traffic, usage: WindowUsage) -> wire.Traffic:
    """Return what a key has used as the API shows it."""
    usage = _in_window(key, traffic.total_bytes, usage)
    return wire.Traffic(
        status="success",
        key_id=key.id,
        key_uuid=key.uuid,
        total_bytes=traffic.total_bytes,
        timestamp=now(),
        gaps=tuple(wire.TrafficGap(since=gap.since, until=gap.until) for gap in traffic.gaps),
        used_in_window_bytes=usage.used_bytes,
        remaining_bytes=usage.remaining_bytes,
        resets_at=usage.resets_at,
    )


def _in_window(key: Key, total_bytes: int, usage: WindowUsage) -> WindowUsage:
    """Return the usage of a key beside its total, which may be newer: in one answer the two do not differ."""
    if key.limits.traffic_window != Window.TOTAL:
        return usage
    return WindowUsage.of(key.limits.traffic_bytes, Window.TOTAL, total_bytes, now())


def point_answer(point: Point) -> wire.TrafficPoint:
    """Return the bytes of an hour or a day as the API shows them."""
    return wire.TrafficPoint(time=point.begin, up_bytes=point.usage.up, down_bytes=point.usage.down)


def traffic_of_all(keys: tuple[Key, ...], traffic: TrafficService) -> wire.AllTraffic:
    """Return the traffic of these keys, as last sampled, as the API shows it. Raises StoreUnavailable.

    `devices` is None for all while Xray does not answer: the totals do not need it.
    """
    totals, online = traffic.totals(), _online(keys, traffic)
    shown = tuple(
        wire.KeyUsage(
            key_id=key.id,
            total_bytes=(total := totals.get(key.account, _NEVER)).total_bytes,
            devices=None if online is None else online.get(key.account, 0),
            last_seen=total.last_seen_at,
            used_in_window_bytes=(usage := _in_window(key, total.total_bytes, known)).used_bytes,
            remaining_bytes=usage.remaining_bytes,
            resets_at=usage.resets_at,
        )
        for key, known in zip(keys, traffic.usage.of_all(keys), strict=True)
    )
    return wire.AllTraffic(timestamp=int(time.time()), total_bytes=sum(one.total_bytes for one in shown), keys=shown)


def _online(keys: tuple[Key, ...], traffic: TrafficService) -> dict[str, int] | None:
    try:
        return traffic.online_by_key(keys)
    except XrayUnavailable:
        return None
