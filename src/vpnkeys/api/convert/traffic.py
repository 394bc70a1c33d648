"""Traffic as answers."""

from datetime import UTC, datetime

from vpnkeys.domain.key import Key
from vpnkeys.domain.traffic import Point, Traffic
from vpnkeys.wire import traffic as wire


def now() -> datetime:
    """Return the time of an answer, UTC without an offset."""
    return datetime.now(UTC).replace(tzinfo=None)


def traffic_answer(key: Key, traffic: Traffic) -> wire.Traffic:
    """Return what a key has used as the API shows it."""
    return wire.Traffic(
        status="success",
        key_id=key.id,
        key_uuid=key.uuid,
        total_bytes=traffic.total_bytes,
        timestamp=now(),
        gaps=tuple(wire.TrafficGap(since=gap.since, until=gap.until) for gap in traffic.gaps),
    )


def point_answer(point: Point) -> wire.TrafficPoint:
    """Return the use of an hour or a day as the API shows it."""
    return wire.TrafficPoint(time=point.begin, up_bytes=point.usage.up, down_bytes=point.usage.down)
