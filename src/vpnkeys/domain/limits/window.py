"""Windows of traffic limits: when each begins and ends, and what is left of a limit in it.

All begin and end at midnight, UTC: UTC has no daylight saving time, so every day has 24 hours.
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

# Rolling windows of 90 days at most: traffic is kept by hour for so long, and a reset within a day could not be told in
# what is kept of it after.
WINDOW_FORM = r"total|day|week|month|month@([1-9]|[12][0-9]|3[01])|([1-9]|[1-8][0-9]|90)d"


class Window(str):
    """A window is the period of a traffic limit, and usage counts from zero in each.

    `total` is the key's whole life. `day`, `week` (from Monday) and `month` are those of the calendar. `month@15` is a
    month that begins on the 15th, or on the last day of a month that is shorter. `30d` is the present day and the 29
    before it.
    """

    __slots__ = ()

    TOTAL: ClassVar["Window"]
    DAY: ClassVar["Window"]
    WEEK: ClassVar["Window"]
    MONTH: ClassVar["Window"]

    def __new__(cls, text: str) -> Self:
        """Return the window that a text names. Raises ValueError."""
        if re.fullmatch(WINDOW_FORM, text) is None:
            msg = f"{text!r} is no window; give total, day, week, month, month@15 (from the 15th on) or 30d (rolling)"
            raise ValueError(msg)
        return super().__new__(cls, text)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> dict[str, Any]:
        """Return how pydantic reads and checks a window: as its text."""
        return {"type": "function-after", "function": {"type": "no-info", "function": cls}, "schema": {"type": "str"}}

    def start(self, now: datetime) -> datetime | None:
        """Return when the present window began; None for `total`, which begins with the key."""
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if self == Window.TOTAL:
            return None
        if self == Window.DAY:
            return today
        if self == Window.WEEK:
            return today - timedelta(days=today.weekday())
        if self.is_rolling:
            return today - timedelta(days=int(self[:-1]) - 1)
        begins = _on_day(today, self._day)
        return begins if begins <= today else _on_day(today.replace(day=1) - timedelta(days=1), self._day)

    def resets_at(self, now: datetime) -> datetime | None:
        """Return when usage next falls: to zero, or by the oldest day of a rolling window. None for `total`."""
        begin = self.start(now)
        if begin is None:
            return None
        if self.is_rolling or self == Window.DAY:
            return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        if self == Window.WEEK:
            return begin + timedelta(days=7)
        return _on_day((begin.replace(day=1) + timedelta(days=31)).replace(day=1), self._day)

    @property
    def is_rolling(self) -> bool:
        """Whether the window moves on by a day at each midnight."""
        return self.endswith("d")

    @property
    def _day(self) -> int:
        """The day of the month on which this window, a month, begins."""
        return int(self.partition("@")[2] or 1)


Window.TOTAL, Window.DAY, Window.WEEK, Window.MONTH = map(Window, ("total", "day", "week", "month"))


def _on_day(month: datetime, day: int) -> datetime:
    """Return this day of a month, or its last day if the month is shorter."""
    return month.replace(day=min(day, monthrange(month.year, month.month)[1]))


@dataclass(frozen=True, slots=True)
class WindowUsage:
    """What a key has used in the present window of its traffic limit, and what is left; None without a limit.

    `used_bytes` is None while the database does not answer. `resets_at` is UTC without an offset.
    """

    used_bytes: int | None
    remaining_bytes: int | None
    resets_at: datetime | None

    @classmethod
    def of(cls, limit_bytes: int | None, window: Window, used_bytes: int | None, now: datetime) -> Self:
        """Return the usage of a key in the window of now."""
        left = None if limit_bytes is None or used_bytes is None else max(0, limit_bytes - used_bytes)
        return cls(used_bytes, left, window.resets_at(now))
