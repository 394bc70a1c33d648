"""Traffic: how samples of Xray's counters are merged into totals and history.

Xray's counters grow during one run of its process (an epoch) and start at zero in the next. A key's usage in an epoch
of a node is the highest value sampled in it; its total is the sum over all of them. Merging a sample again, in another
order, or in several processes at once gives the same result: `merge` is idempotent, commutative and associative.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from vpnkeys.domain.nodes import LOCAL


class Bytes(NamedTuple):
    """Payload bytes of one key: sent by the customer (`up`) and to the customer (`down`)."""

    up: int
    down: int

    @property
    def total(self) -> int:
        """The bytes of both directions."""
        return self.up + self.down


NOTHING = Bytes(0, 0)


def sum_of(many: Collection[Bytes]) -> Bytes:
    """Return what several keys or nodes have used together."""
    return Bytes(sum(one.up for one in many), sum(one.down for one in many))


class Carried(NamedTuple):
    """All bytes that Xray has carried since its start, both directions, and the epoch, which names that start."""

    epoch: str
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Samples:
    """A node's cumulative counters by key UUID, in one run of its Xray (`epoch`). A missing key has zero."""

    epoch: str
    usage: Mapping[str, Bytes]
    node_id: int = LOCAL.id


class EpochSample(NamedTuple):
    """The last sample of an epoch, which has all that the earlier ones had; `has_ended` if we ended that epoch."""

    samples: Samples
    at: datetime
    has_ended: bool


def merge(seen: Bytes, sampled: Bytes) -> Bytes:
    """Return a key's usage in an epoch after one more sample."""
    return Bytes(max(seen.up, sampled.up), max(seen.down, sampled.down))


def increments(seen: Mapping[str, Bytes], sampled: Mapping[str, Bytes]) -> dict[str, Bytes]:
    """Return the bytes that one more sample adds, by key UUID, without the keys to which it adds nothing."""
    added: dict[str, Bytes] = {}
    for uuid, counters in sampled.items():
        before = seen.get(uuid, NOTHING)
        after = merge(before, counters)
        if after != before:
            added[uuid] = Bytes(after.up - before.up, after.down - before.down)
    return added


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap is a time in which bytes of a node may have passed uncounted, as its Xray died before the next sample."""

    since: datetime
    until: datetime


LifeName: TypeAlias = tuple[int, str]
"""Names a life of a node's Xray: the node's id, and the epoch."""


def gaps_of(
    gaps: Iterable[tuple[LifeName, Gap]],
    counted: Collection[LifeName],
    node_id: int,
    born: datetime,
    placed_at: datetime | None,
) -> tuple[Gap, ...]:
    """Return the gaps in which a key that lives on this node may have lost bytes.

    `counted` are the lives in which bytes of it were counted. One that was on other nodes has been here since it got
    its present place.
    """
    has_moved = any(other != node_id for other, _ in counted)
    since = placed_at if has_moved and placed_at is not None else born
    return tuple(gap for life, gap in gaps if life in counted or (life[0] == node_id and gap.until > since))


@dataclass(frozen=True, slots=True)
class Traffic:
    """A key's usage since its creation or last reset, and the gaps in which bytes may be missing.

    `last_seen_at` is the time of the last sample that found new bytes; None when there was none.
    """

    total_bytes: int
    gaps: tuple[Gap, ...]
    last_seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """A key's usage since its creation or last reset, and the time of the last sample that found new bytes."""

    total_bytes: int
    last_seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """All bytes that samples have ever added on each node, by its id; neither resets nor deletions change it.

    `gaps` counts the ends of Xray without a final sample; `sampled_at` is the time of the last merged sample.
    """

    by_node: Mapping[int, Bytes]
    gaps: int
    sampled_at: datetime | None


class Step(StrEnum):
    """A step is the resolution of history. Hours older than 90 days are stored as days only."""

    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Point:
    """A point is the usage in the hour or day that starts at `begin`, UTC."""

    begin: datetime
    usage: Bytes


def added_up(points: Iterable[Point]) -> tuple[Point, ...]:
    """Return one point for each start, in order of time, with the usage of all keys added up."""
    sums: dict[datetime, Bytes] = {}
    for point in points:
        before = sums.get(point.begin, NOTHING)
        sums[point.begin] = Bytes(before.up + point.usage.up, before.down + point.usage.down)
    return tuple(Point(begin, sums[begin]) for begin in sorted(sums))


def by_day(points: Iterable[Point]) -> tuple[Point, ...]:
    """Return hourly points added up to daily ones, in order of time."""
    return added_up(Point(point.begin.replace(hour=0), point.usage) for point in points)
