"""Traffic counters as Xray gives them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Bytes(NamedTuple):
    """Payload bytes of one key: from the customer (`up`) and to the customer (`down`)."""

    up: int
    down: int


@dataclass(frozen=True, slots=True)
class Samples:
    """Xray's cumulative counters by key UUID, within one process life (`epoch`). Absent means zero."""

    epoch: str
    usage: Mapping[str, Bytes]
