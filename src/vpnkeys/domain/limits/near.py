"""Decides when webhooks are notified that a key is near its traffic limit: once in each window, at 80 and at 95 %."""

from datetime import datetime
from typing import NamedTuple

from vpnkeys.domain.limits.status import Limits

NEAR_PERCENT = (80, 95)


class Notice(NamedTuple):
    """The last share of a limit, in percent, that was notified (0: none) in the window that began then.

    `window_start` is None for windows that do not begin anew: `total`, and rolling ones.
    """

    window_start: datetime | None
    percent: int


def notice_of(limits: Limits, used_bytes: int, now: datetime) -> Notice:
    """Return the highest share of the limit that is reached in the present window. The key has a traffic limit."""
    window, limit = limits.traffic_window, limits.traffic_bytes or 0
    begin = None if window.is_rolling else window.start(now)
    return Notice(begin, max((share for share in NEAR_PERCENT if used_bytes * 100 >= share * limit), default=0))


def left_until_next(limit_bytes: int, used_bytes: int) -> int | None:
    """Return how many more bytes reach the next share that is notified, or the limit; None beyond it."""
    more = (-(-share * limit_bytes // 100) - used_bytes for share in (*NEAR_PERCENT, 100))
    return min((one for one in more if one > 0), default=None)


def shares_to_notify(last: Notice | None, now: Notice) -> tuple[int, ...]:
    """Return the shares that have been reached since the last notice, or in a window that is new.

    After a reset, or a higher limit, a share is notified again when it is reached again: `now` was less in between.
    """
    known = last.percent if last is not None and last.window_start == now.window_start else 0
    return tuple(share for share in NEAR_PERCENT if known < share <= now.percent)
