"""Traffic: what keys have used, and who is online."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from vpnkeys.wire.base import Added, Answer, OneOf, Seconds, UnixSeconds
from vpnkeys.wire.limits import Remaining, ResetsAt, UsedInWindow

Step = Literal["hour", "day"]

SentStep = Annotated[
    str, OneOf(*get_args(Step)), Field(description="hours that are older than 90 days are kept as days only")
]


class TrafficGap(Answer):
    """A time in which bytes may have passed uncounted, because Xray died before its next sample."""

    since: Added[Seconds] = None
    until: Added[Seconds] = None


class Traffic(Answer):
    """What a key has used since it was made or last reset, up and down together."""

    status: Annotated[str, OneOf("success")]
    key_id: str
    key_uuid: str
    total_bytes: int
    timestamp: Seconds
    gaps: tuple[TrafficGap, ...] = ()
    used_in_window_bytes: UsedInWindow = None
    remaining_bytes: Remaining = None
    resets_at: Annotated[Seconds | None, ResetsAt] = None


class TrafficReset(Answer):
    """The key's total starts again from zero."""

    status: Annotated[str, OneOf("success")]
    message: Annotated[str, OneOf("Traffic reset successfully")]
    key_id: str
    key_uuid: str
    timestamp: Seconds


class TrafficPoint(Answer):
    """What was counted in the hour or day that began at `time`."""

    time: Seconds
    up_bytes: int
    down_bytes: int


class AllHistory(Answer):
    """What all keys that are there used, by hour or day; those in which nothing was counted are left out."""

    step: SentStep
    since: Annotated[Seconds, Field(alias="from")]
    until: Annotated[Seconds, Field(alias="to")]
    points: tuple[TrafficPoint, ...] = ()


class TrafficHistory(Answer):
    """What a key used, by hour or day; hours and days in which nothing was counted are left out."""

    key_id: str
    key_uuid: str
    step: SentStep
    since: Annotated[Seconds, Field(alias="from")]
    until: Annotated[Seconds, Field(alias="to")]
    points: tuple[TrafficPoint, ...] = ()


class Online(Answer):
    """Whether a key's customer is online; devices are counted, and their addresses neither told nor kept."""

    key_id: str
    key_uuid: str
    online: bool
    devices: Annotated[int, Field(description="from how many devices")]
    last_seen: Seconds | None = None
    timestamp: Seconds


class KeyUsage(Answer):
    """What one key uses."""

    key_id: str
    total_bytes: int
    devices: Annotated[
        int | None, Field(description="from how many devices it is online now; null while Xray does not answer")
    ] = None
    last_seen: Seconds | None = None
    used_in_window_bytes: UsedInWindow = None
    remaining_bytes: Remaining = None
    resets_at: Annotated[Seconds | None, ResetsAt] = None


class AllTraffic(Answer):
    """What all keys use, as last sampled: about a second ago while bytes pass."""

    timestamp: UnixSeconds
    total_bytes: int
    keys: tuple[KeyUsage, ...]
