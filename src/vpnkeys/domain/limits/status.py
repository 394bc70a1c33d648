"""Limits of a key, and the status that follows from them.

Days, weeks (from Monday) and months are those of UTC: UTC has no daylight saving time, so every day has 24 hours.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Window(StrEnum):
    """A window is the period of a traffic limit. Usage counts from zero in each; `total` is the key's whole life."""

    TOTAL = "total"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Status(StrEnum):
    """A status says whether a key works, and the reason if it does not."""

    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"
    LIMITED = "limited"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a key; None means no limit.

    `expires_at` is UTC without an offset; `speed_mbps` is in 10^6 bits per second, each way.
    """

    expires_at: datetime | None = None
    traffic_bytes: int | None = None
    traffic_window: Window = Window.TOTAL
    max_devices: int | None = None
    speed_mbps: int | None = None


NO_LIMITS = Limits()


def window_start(window: Window, now: datetime) -> datetime | None:
    """Return the start of the current window; None for `total`, which starts with the key."""
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
    """Return active, expired or limited for a key that has used `used_bytes` in the current window.

    Expiry comes first: more traffic would not make an expired key work.
    """
    if limits.expires_at is not None and now >= limits.expires_at:
        return Status.EXPIRED
    if limits.traffic_bytes is not None and used_bytes >= limits.traffic_bytes:
        return Status.LIMITED
    return Status.ACTIVE


LOOK_EVERY_S = 0.5
"""So often at least a traffic limit is looked at that could be reached soon: the rate may rise at any time."""

_LOOK_AT_MOST_EVERY_S = 0.1
_SELDOM_S = 2.0
_FASTEST = 1.25e9  # bytes a second, 10 Gbit/s


def look_again_in(left_bytes: int, rate: float) -> float:
    """Return after how many seconds to look at a traffic limit again, from the bytes left and the bytes a second.

    That is half of the time in which the limit would be reached, from 0.1 to 0.5 seconds, so that less than a second of
    traffic passes beyond the limit. A limit that no network reaches so soon is looked at later, every 2 s at least.
    """
    soonest = max(LOOK_EVERY_S, min(left_bytes / _FASTEST, _SELDOM_S))
    return soonest if rate <= 0 else min(soonest, max(left_bytes / rate / 2, _LOOK_AT_MOST_EVERY_S))
