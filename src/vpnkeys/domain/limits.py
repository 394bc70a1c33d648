"""What a key may use, and whether it still may.

Days, weeks (from Monday) and months are those of UTC: everywhere the same, with no hour twice or missing in a year.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Window(StrEnum):
    """The time that a traffic limit is about; each but `total` begins anew at its turn."""

    TOTAL = "total"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Status(StrEnum):
    """Whether a key works, and if not, why."""

    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"
    LIMITED = "limited"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may use; None is no limit.

    `expires_at` is UTC without an offset; `speed_mbps` is in 10^6 bits per second, each way.
    """

    expires_at: datetime | None = None
    traffic_bytes: int | None = None
    traffic_window: Window = Window.TOTAL
    max_devices: int | None = None
    speed_mbps: int | None = None


NO_LIMITS = Limits()


def window_start(window: Window, now: datetime) -> datetime | None:
    """When the present window began; None for `total`, which began with the key."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    match window:
        case Window.TOTAL:
            return None
        case Window.DAY:
            return midnight
        case Window.WEEK:
            return midnight - timedelta(days=midnight.weekday())
        case Window.MONTH:
            return midnight.replace(day=1)


def judge(limits: Limits, used_bytes: int, now: datetime) -> Status:
    """What a key's limits make of it, after `used_bytes` in the present window: active, expired or limited."""
    if limits.expires_at is not None and now >= limits.expires_at:
        return Status.EXPIRED
    if limits.traffic_bytes is not None and used_bytes >= limits.traffic_bytes:
        return Status.LIMITED
    return Status.ACTIVE
