"""Traffic: Xray's counters, how they are merged, and what is told of them.

Xray's counters are cumulative within one life of its process (the epoch) and start at zero with the next. What a key
has used in an epoch is the highest value seen in it; its total is the sum over all epochs. Taking the maximum again,
in another order, or in several processes at once, changes nothing: `merge` is idempotent, commutative, associative.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class Bytes(NamedTuple):
    """Payload bytes of one key: from the customer (`up`) and to the customer (`down`)."""

    up: int
    down: int

    @property
    def total(self) -> int:
        """Both directions."""
        return self.up + self.down


NOTHING = Bytes(0, 0)


@dataclass(frozen=True, slots=True)
class Samples:
    """Xray's cumulative counters by key UUID, within one process life (`epoch`). Absent means zero."""

    epoch: str
    usage: Mapping[str, Bytes]


def merge(seen: Bytes, sampled: Bytes) -> Bytes:
    """What a key has used in an epoch, after one more sample of it."""
    return Bytes(max(seen.up, sampled.up), max(seen.down, sampled.down))


def increments(seen: Mapping[str, Bytes], sampled: Mapping[str, Bytes]) -> dict[str, Bytes]:
    """What one more sample adds, by key; keys to which it adds nothing are left out."""
    added: dict[str, Bytes] = {}
    for uuid, counters in sampled.items():
        before = seen.get(uuid, NOTHING)
        after = merge(before, counters)
        if after != before:
            added[uuid] = Bytes(after.up - before.up, after.down - before.down)
    return added


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which bytes may have passed uncounted, because Xray died before its next sample."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a key has used since it was made or last reset, and the gaps in that knowledge.

    `last_seen_at` is when a sample last found more bytes than before.
    """

    total_bytes: int
    gaps: tuple[Gap, ...]
    last_seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """What a key has used since it was made or last reset, and when a sample last found more than before."""

    total_bytes: int
    last_seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """All that was ever counted of the keys that are there, by UUID, whatever was reset since.

    `gaps` is how often Xray ended unasked, `sampled_at` when a sample was last merged.
    """

    by_key: Mapping[str, Bytes]
    gaps: int
    sampled_at: datetime | None


class Step(StrEnum):
    """How finely history is told; older hours than 90 days are kept as days only."""

    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Point:
    """What was counted in the hour or day that began then, UTC."""

    begin: datetime
    usage: Bytes


def added_up(points: Iterable[Point]) -> tuple[Point, ...]:
    """Points of several keys with the same beginning made one, in order."""
    sums: dict[datetime, Bytes] = {}
    for point in points:
        before = sums.get(point.begin, NOTHING)
        sums[point.begin] = Bytes(before.up + point.usage.up, before.down + point.usage.down)
    return tuple(Point(begin, sums[begin]) for begin in sorted(sums))


def by_day(points: Iterable[Point]) -> tuple[Point, ...]:
    """Hours added up to days, in order."""
    return added_up(Point(point.begin.replace(hour=0), point.usage) for point in points)
