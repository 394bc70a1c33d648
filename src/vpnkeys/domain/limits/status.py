"""Limits of a key, and the status that follows from them."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self, TypeVar

from vpnkeys.domain.limits.window import Window

T = TypeVar("T", int, datetime)


class Status(StrEnum):
    """A status says whether a key works, and the reason if it does not."""

    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"
    LIMITED = "limited"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a key; None means no limit.

    `expires_at` is UTC without an offset; `speed_mbps` is in 10^6 bits per second, each way. With `expires_after_s`
    and no `expires_at`, the key expires so many seconds after its first byte, which sets `expires_at`.
    """

    expires_at: datetime | None = None
    traffic_bytes: int | None = None
    traffic_window: Window = Window.TOTAL
    max_devices: int | None = None
    speed_mbps: int | None = None
    expires_after_s: int | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the key's time begins with its first byte, and has not begun."""
        return self.expires_after_s is not None and self.expires_at is None

    @property
    def began_at(self) -> datetime | None:
        """When the key's time began with its first byte, unless it was extended since; None where it has not."""
        if self.expires_after_s is None or self.expires_at is None:
            return None
        return self.expires_at - timedelta(seconds=self.expires_after_s)

    def begun(self, now: datetime) -> Self:
        """Return the limits of a key whose time begins now."""
        return replace(self, expires_at=_later(now, timedelta(seconds=self.expires_after_s or 0)))

    def extended(self, by: timedelta, now: datetime) -> Self:
        """Return the limits of a key that expires later, an expired one from now. One that never expires stays so."""
        if self.is_waiting:
            after_s = min(timedelta(seconds=self.expires_after_s or 0) + by, _LONGEST_TERM)
            return replace(self, expires_after_s=int(after_s.total_seconds()))
        if self.expires_at is None:
            return self
        return replace(self, expires_at=_later(max(self.expires_at, now), by))

    def allow_more_than(self, other: Self) -> bool:
        """Return whether a key may do anything with these limits that it may not with the others."""
        if self.traffic_bytes is not None and self.traffic_window is not other.traffic_window:
            return True
        bounds = ((one.traffic_bytes, one.max_devices, one.speed_mbps) for one in (self, other))
        return self._last_longer_than(other) or any(_is_more(*both) for both in zip(*bounds, strict=True))

    def _last_longer_than(self, other: Self) -> bool:
        if self.expires_at is not None or other.expires_at is not None:
            # A term that has begun is not longer than it was.
            return other.expires_at is not None and _is_more(self.expires_at, other.expires_at)
        return _is_more(self.expires_after_s, other.expires_after_s)


_LONGEST_TERM = timedelta(days=36500)


def _is_more(bound: T | None, other: T | None) -> bool:
    """Return whether a bound lets more through than another one; None lets everything through."""
    return other is not None and (bound is None or bound > other)


def _later(moment: datetime, by: timedelta) -> datetime:
    """Return a later moment; beyond the year 9999, where the addition would overflow, the last one that there is."""
    return moment + min(by, datetime.max - moment)  # noqa: DTZ901 - UTC without an offset, as everywhere


NO_LIMITS = Limits()


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
