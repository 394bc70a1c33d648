"""The span of time that a request for history asks for."""

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
    """Return the span that is asked for. Raises InvalidSpan."""
    end = until or now
    begin = since or end - min(_DEFAULT_SPAN[step], end - datetime.min)  # noqa: DTZ901 - UTC without an offset
    if begin > end:
        raise InvalidSpan("`from` is later than `to`")
    return begin, end
