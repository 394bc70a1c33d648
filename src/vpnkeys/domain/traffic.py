"""Traffic: Xray's counters, how they are merged, and what is told of them.

Xray's counters are cumulative within one life of its process (the epoch) and start at zero with the next. What a key
has used in an epoch is the highest value seen in it; its total is the sum over all epochs. Taking the maximum again,
in another order, or in several processes at once, changes nothing: `merge` is idempotent, commutative, associative.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
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
    """What a key has used since it was made or last reset, and the gaps in that knowledge."""

    total_bytes: int
    gaps: tuple[Gap, ...]
