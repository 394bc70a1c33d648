"""Reads the span of time of a request for history."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Query

from vpnkeys.domain.errors import InvalidSpan
from vpnkeys.domain.traffic import Step
from vpnkeys.wire.base import Moment

_DEFAULT_SPAN = {Step.HOUR: timedelta(days=1), Step.DAY: timedelta(days=30)}

From = Annotated[Moment | None, Query(alias="from", description="default: a day (step=day: 30 days) before `to`")]
Until = Annotated[Moment | None, Query(alias="to", description="default: now")]


def span(since: datetime | None, until: datetime | None, step: Step, now: datetime) -> tuple[datetime, datetime]:
    """Return beginning and end of the span that is asked for, UTC. Raises InvalidSpan when the end comes first."""
    end = until or now
    # Not before the year 1, which a very early `to` would reach: subtracting would overflow.
    begin = since or end - min(_DEFAULT_SPAN[step], end - datetime.min)  # noqa: DTZ901 - UTC without an offset
    if begin > end:
        raise InvalidSpan("`from` is later than `to`; send an earlier `from`.")
    return begin, end
