"""When nodes were last heard of, and what that says of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from vpnkeys.domain.nodes.record import NodeRecord, NodeState

NOBODY: Final[Mapping[str, int]] = MappingProxyType({})
"""Of no key is anybody online."""

SILENT_AFTER: Final = timedelta(seconds=15)
"""A node that was not heard of for so long is silent: its agent reports every ten seconds."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What an agent has said that its node has, by the mark of exactly these keys.

    It has all that was wanted at this revision of the database. `failed` has a code for each key that did not start.
    """

    mark: str
    revision: int
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HostState:
    """What a node's last report says of its host; None where it does not say.

    `cpu_share` is the busy part of all cores, from 0 to 1; `clock_ahead_s` is by how much its clock is ahead of ours.
    """

    cpu_share: float | None = None
    clock_ahead_s: float | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a node's agent said of itself in its last report, which came in `at` (UTC, without an offset).

    `confirmed` is the last that it has confirmed; stored as None it leaves what was confirmed before. `is_silent`
    says whether webhooks were notified of its silence; a report leaves that as it is.
    """

    at: datetime
    version: str
    xray_version: str
    names: tuple[str, ...]
    confirmed: Confirmed | None = None
    is_silent: bool = False
    host: HostState = HostState()

    def is_past(self, now: datetime) -> bool:
        """Return whether this is too old to say anything of now."""
        # The distance, not the age: a clock that was set back makes no node that ended look alive.
        return abs(now - self.at) >= SILENT_AFTER


def state_of(record: NodeRecord, seen: Sighting | None, now: datetime) -> NodeState:
    """Return the state of a node elsewhere that was last seen so."""
    if record.state in {NodeState.JOINING, NodeState.LOST}:
        return record.state
    return NodeState.SILENT if seen is None or seen.is_past(now) else record.state
