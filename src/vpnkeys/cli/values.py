"""Reads what a person types: sizes, dates and spans of time; and writes moments in the zone of the reader."""

import re
from calendar import monthrange
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kmgtp])b?|b)?", re.IGNORECASE)
_POWERS = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
_SPAN = re.compile(r"\+?\s*([0-9]{1,5})\s*(h|d|w|month|y|hour|day|week|year)s?", re.IGNORECASE)
_HOURS = {"h": 1, "hour": 1, "d": 24, "day": 24, "w": 168, "week": 168}
_MONTHS = {"month": 1, "y": 12, "year": 12}

SIZES = "a size such as 50GB, 1.5TB or 500MB (1 GB is 10^9 bytes)"
SPANS = "a span such as 12h, 30d or 2w"
DATES = "a date such as 2026-12-31, which is the end of that day here; a span such as 30d or +1month; or ISO 8601"


def size_of(text: str) -> int:
    """Return the bytes that a size such as `50GB` or `1.5TB` means. Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        msg = f"{text!r} is no size"
        raise ValueError(msg)
    return round(float(found[1]) * _POWERS.get((found[2] or "").lower(), 1))


def seconds_of(text: str) -> int:
    """Return the seconds of a span such as `30d`; months have no fixed length, and are none. Raises ValueError."""
    found = _SPAN.fullmatch(text.strip())
    if found is None or found[2].lower() not in _HOURS:
        msg = f"{text!r} is no span of time, or one without a fixed length"
        raise ValueError(msg)
    return int(found[1]) * _HOURS[found[2].lower()] * 3600


def moment_of(text: str, now: datetime) -> datetime:
    """Return the moment that is meant, with an offset: a span after now, the end of a day here, or ISO 8601.

    ISO 8601 without an offset is UTC. Raises ValueError, or OverflowError beyond the last year that there is.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is not None:
        count, unit = int(found[1]), found[2].lower()
        if unit in _MONTHS:
            return _months_later(now.astimezone(), count * _MONTHS[unit])
        return now.astimezone() + timedelta(hours=count * _HOURS[unit])
    moment = time_of(text, is_end=True)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def time_of(text: str, *, is_end: bool) -> datetime:
    """Return the moment of an ISO 8601 text, UTC without an offset; of a date the beginning, or the end, of it here.

    Raises ValueError, OverflowError, OSError.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat(text)
    # A time without a zone is local, with summer time as it is on that day.
    return datetime.combine(day + timedelta(days=is_end), time()).astimezone()


def _months_later(moment: datetime, count: int) -> datetime:
    """Return the same time some months later, on the last day of a month that is shorter."""
    years, month = divmod(moment.month - 1 + count, 12)
    year = moment.year + years
    if year > MAXYEAR:
        raise OverflowError
    day = min(moment.day, monthrange(year, month + 1)[1])
    # Without its zone and with it again, as summer time may begin or end in between.
    return moment.replace(year=year, month=month + 1, day=day, tzinfo=None).astimezone()


def to_minute(moment: datetime | None) -> str | None:
    """Return a moment to the minute in the zone of the reader, which is named; or None."""
    return None if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M %Z}"


def to_second(moment: datetime | None) -> str | None:
    """Return a moment to the second in the zone of the reader, which is named; or None."""
    return None if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}"
