"""Limits: when a window begins, and what is made of a key in it."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import limits, times, windows

from vpnkeys.domain.limits import NO_LIMITS, Limits, Status, Window, judge

MOMENT = datetime(2025, 8, 5, 12)  # noqa: DTZ001 - UTC without an offset, as everywhere
LONGEST = {Window.DAY: timedelta(days=1), Window.WEEK: timedelta(days=7)}
# When clocks were changed in Berlin, New York and Lord Howe, in UTC.
SUMMER_TIME = [
    "2025-03-30T01:00:00",
    "2025-10-26T01:00:00",
    "2025-03-09T07:00:00",
    "2025-11-02T06:00:00",
    "2025-04-05T15:00:00",
    "2025-10-04T15:30:00",
]
turning = windows.filter(lambda window: window != Window.TOTAL and not window.is_rolling)
used = st.integers(0, 10**19)


def start(window: Window, now: datetime) -> datetime:
    """The start of a window that begins anew at its turn."""
    found = window.start(now)
    assert found is not None
    return found


def next_start(window: Window, now: datetime) -> datetime:
    """When the next one begins, found by going through the days."""
    here = start(window, now)
    return next(day for n in range(1, 33) if start(window, day := here + timedelta(days=n)) != here)


@given(turning, times)
def test_now_is_in_its_window(window: Window, now: datetime) -> None:
    """A window has begun and has not ended; it is no longer than its name says, and begins at a midnight."""
    begin, end = start(window, now), next_start(window, now)
    assert begin <= now < end
    assert begin.time() == end.time() == datetime.min.time()
    assert window.resets_at(now) == end
    assert end - begin <= LONGEST.get(window, timedelta(days=31))
    assert start(window, begin) == begin
    assert start(window, end) == end
    assert start(window, end - timedelta(microseconds=1)) == begin


@given(turning, times, times)
def test_later_is_never_in_an_earlier_window(window: Window, one: datetime, other: datetime) -> None:
    """Time does not run backwards."""
    earlier, later = sorted([one, other])
    assert start(window, earlier) <= start(window, later)


@pytest.mark.parametrize(
    ("window", "now", "begin"),
    [
        (Window.DAY, "2024-02-29T23:59:59.999999", "2024-02-29"),
        (Window.DAY, "2024-03-01T00:00:00", "2024-03-01"),
        (Window.WEEK, "2024-03-03T23:59:59", "2024-02-26"),
        (Window.WEEK, "2024-03-04T00:00:00", "2024-03-04"),
        (Window.WEEK, "2026-01-01T10:00:00", "2025-12-29"),
        (Window.WEEK, "2027-01-03T23:59:59", "2026-12-28"),
        (Window.MONTH, "2024-02-29T12:00:00", "2024-02-01"),
        (Window.MONTH, "2023-02-28T23:59:59", "2023-02-01"),
        (Window.MONTH, "2023-03-01T00:00:00", "2023-03-01"),
        (Window.MONTH, "2025-12-31T23:59:59", "2025-12-01"),
        (Window.MONTH, "2026-01-01T00:00:00", "2026-01-01"),
        (Window.MONTH, "2100-02-28T00:00:00", "2100-02-01"),
        ("month@15", "2026-11-14T23:59:59", "2026-10-15"),
        ("month@15", "2026-11-15T00:00:00", "2026-11-15"),
        ("month@31", "2026-11-29T23:59:59", "2026-10-31"),
        ("month@31", "2026-11-30T00:00:00", "2026-11-30"),
        ("month@31", "2024-02-29T00:00:00", "2024-02-29"),
        ("month@30", "2026-03-01T00:00:00", "2026-02-28"),
        ("month@15", "2026-01-01T00:00:00", "2025-12-15"),
        ("1d", "2026-11-29T23:59:59", "2026-11-29"),
        ("30d", "2026-11-29T23:59:59", "2026-10-31"),
    ],
)
def test_windows_turn_at_the_ends_of_days_weeks_months_and_years(window: str, now: str, begin: str) -> None:
    """Also of leap years, in weeks that lie in two years, and from days that not every month has."""
    assert start(Window(window), datetime.fromisoformat(now)) == datetime.fromisoformat(begin)


@given(turning, st.sampled_from(SUMMER_TIME))
def test_local_time_has_no_say(window: Window, turn: str) -> None:
    """A day on which clocks are changed somewhere, with 23 or 25 hours on the wall, has 24 hours like any other."""
    now = datetime.fromisoformat(turn)
    days = [now + timedelta(days=n) for n in (-1, 0, 1)]
    assert {next_start(Window.DAY, day) - start(Window.DAY, day) for day in days} == {timedelta(days=1)}
    second = timedelta(seconds=1)
    assert start(window, now - second) == start(window, now) == start(window, now + second)


@given(st.integers(1, 90), times)
def test_a_rolling_window_has_its_days_and_moves_on_at_midnight(days: int, now: datetime) -> None:
    """Today is one of them."""
    window, today = Window(f"{days}d"), now.replace(hour=0, minute=0, second=0, microsecond=0)
    assert start(window, now) == today - timedelta(days=days - 1)
    moves_on = window.resets_at(now)
    assert moves_on == today + timedelta(days=1)
    assert start(window, moves_on) == start(window, now) + timedelta(days=1)


@pytest.mark.parametrize("text", ["", "month@0", "month@32", "month@015", "0d", "91d", "30", "d", "Day", "7d\n"])
def test_other_texts_are_no_windows(text: str) -> None:
    """And the refusal says what is one."""
    with pytest.raises(ValueError, match="month@15"):
        Window(text)


@given(times)
def test_the_total_never_begins_anew(now: datetime) -> None:
    """It has no start but the key's own."""
    assert Window.TOTAL.start(now) is None


@given(limits, used, times)
def test_a_verdict_is_what_the_limits_say(given_limits: Limits, count: int, now: datetime) -> None:
    """Expired from its very second on, limited from its very byte on; an expired key is expired, whatever it used."""
    expired = given_limits.expires_at is not None and given_limits.expires_at <= now
    spent = given_limits.traffic_bytes is not None and given_limits.traffic_bytes <= count
    verdict = judge(given_limits, count, now)
    assert (verdict is Status.EXPIRED) == expired
    assert (verdict is Status.LIMITED) == (spent and not expired)
    assert (verdict is Status.ACTIVE) == (not spent and not expired)


@given(limits, used, times, used, st.timedeltas(timedelta(0), timedelta(days=1000)))
def test_use_and_time_never_bring_a_key_back(
    given_limits: Limits, count: int, now: datetime, more: int, later: timedelta
) -> None:
    """In one window, more bytes and more time only ever stop it."""
    if judge(given_limits, count, now) is not Status.ACTIVE:
        assert judge(given_limits, count + more, now + later) is not Status.ACTIVE


@given(used, times, limits)
def test_without_limits_a_key_works(count: int, now: datetime, given_limits: Limits) -> None:
    """Whatever was used; numbers of devices and speeds are kept in other ways, and stop no key."""
    assert judge(NO_LIMITS, count, now) is Status.ACTIVE
    assert judge(replace(given_limits, expires_at=None, traffic_bytes=None), count, now) is Status.ACTIVE


def test_the_edge_is_exact() -> None:
    """The last microsecond and the last byte are the customer's."""
    step = timedelta(microseconds=1)
    assert judge(Limits(expires_at=MOMENT), 0, MOMENT - step) is Status.ACTIVE
    assert judge(Limits(expires_at=MOMENT), 0, MOMENT) is Status.EXPIRED
    assert judge(Limits(traffic_bytes=10), 9, MOMENT) is Status.ACTIVE
    assert judge(Limits(traffic_bytes=10), 10, MOMENT) is Status.LIMITED
