"""Says which backups are kept, so that many made at once push out none of an earlier day or week."""

from collections.abc import Callable, Iterable
from datetime import date, datetime

NEWEST, DAYS, WEEKS = 10, 7, 8


def kept(made_at: Iterable[datetime], now: datetime) -> frozenset[datetime]:
    """Return which of the backups made at these times are kept: 25 at most, and those that say they are of the future.

    They are the newest ten, the first of each of the last seven days that have one, and the first of each of the last
    eight weeks that have one. The first, because later ones of the same day or week cannot take its place.
    """
    moments = sorted(made_at, reverse=True)
    # Made while the clock was ahead: they are no reason to remove those that were made since.
    future = [at for at in moments if at > now]
    past = moments[len(future) :]
    days, weeks = _firsts(past, datetime.date), _firsts(past, _week)
    return frozenset((*future, *past[:NEWEST], *days[:DAYS], *weeks[:WEEKS]))


def _firsts(newest_first: list[datetime], period_of: Callable[[datetime], object]) -> list[datetime]:
    """Return the first of each period, newest period first."""
    return list({period_of(at): at for at in newest_first}.values())


def _week(at: datetime) -> tuple[int, int]:
    year, week, _ = date.isocalendar(at)
    return year, week
