"""Changes of keys as values: what a decision sees, the changes it returns, and the order in which they are applied."""

from vpnkeys.domain.change.changes import (
    ANSWERS_KEPT_FOR,
    Arrival,
    Intent,
    KeptAnswer,
    KeyChanges,
    Stop,
    UsedElsewhere,
)
from vpnkeys.domain.change.snapshot import Snapshot
from vpnkeys.domain.change.stages import Stages, split

__all__ = [
    "ANSWERS_KEPT_FOR",
    "Arrival",
    "Intent",
    "KeptAnswer",
    "KeyChanges",
    "Snapshot",
    "Stages",
    "Stop",
    "UsedElsewhere",
    "split",
]
