"""Which backups are kept: by number, by day and by week, whatever is made at once."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from vpnkeys.ops.retention import kept

NOW = datetime(2026, 3, 18, 12, tzinfo=UTC)  # a Wednesday
MOMENTS = st.lists(st.timedeltas(timedelta(days=-120), timedelta(0)).map(lambda ago: NOW + ago), unique=True)


def day_by_day(now: datetime, days: int) -> list[datetime]:
    """A backup a day at three in the night, oldest first, the last one on the day of `now`."""
    night = now.replace(hour=3)
    return [night - timedelta(days=ago) for ago in reversed(range(days))]


def test_many_at_once_push_out_none_of_an_earlier_day_or_week() -> None:
    """Made by hand or by a thief: days and weeks keep what they had."""
    daily = day_by_day(NOW, 60)
    before = kept(daily, NOW)
    by_hand = [NOW - timedelta(seconds=number) for number in range(500)]
    after = kept([*before, *by_hand], NOW)
    assert after >= {*daily[-7:]}
    weeks = {at.isocalendar()[:2] for at in before}
    assert {at.isocalendar()[:2] for at in after} == weeks
    assert len(weeks) == 8
    assert {*by_hand[:10]} <= after


def test_backups_of_every_day_thin_out_to_days_and_weeks() -> None:
    """Made and thinned out once a day for a year: ten days, then Mondays, for eight weeks in all."""
    left: frozenset[datetime] = frozenset()
    for at in day_by_day(NOW, 365):
        left = kept([*left, at], at)
    daily = {*day_by_day(NOW, 10)}
    assert daily <= left
    assert all(at.isoweekday() == 1 for at in left - daily)
    assert NOW - min(left) > timedelta(weeks=7)


@given(MOMENTS)
def test_it_is_bounded_and_settled(moments: list[datetime]) -> None:
    """Never more than 25, always the newest, and thinning out again removes nothing."""
    left = kept(moments, NOW)
    assert left <= {*moments}
    assert len(left) <= 25
    assert left >= {*sorted(moments)[-10:]}
    assert kept(left, NOW) == left


@given(MOMENTS, MOMENTS)
def test_what_is_first_of_its_day_cannot_be_displaced(moments: list[datetime], more: list[datetime]) -> None:
    """Whatever is made later that day."""
    later = [NOW + timedelta(seconds=number) for number in range(len(more))]
    before, after = kept(moments, NOW), kept([*moments, *later], NOW + timedelta(hours=1))
    today = sorted(at for at in before if at.date() == NOW.date())
    assert not today or today[0] in after


def test_a_clock_that_was_ahead_costs_nothing() -> None:
    """What says that it is of the future stays, and takes no place."""
    future = [NOW + timedelta(days=number) for number in range(1, 40)]
    daily = day_by_day(NOW, 60)
    assert kept([*daily, *future], NOW) == kept(daily, NOW) | {*future}
