"""The promise of the stop journal, in which stops that the database does not take outlast the end of the server."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from vpnkeys.domain.change import KeyChanges, Stop
from vpnkeys.domain.traffic import EpochSample


class Holds(StrEnum):
    """How long stops hold that the database has not stored: the end of a sentence about them."""

    UNTIL_EXIT = "while this server runs"
    UNTIL_REBOOT = "also when this server is restarted, until the host is"
    FOR_GOOD = "also when this server or the host is restarted"


@dataclass(frozen=True, slots=True)
class HeldStops:
    """Stops that the database has not stored, and the samples that it has not stored of their keys.

    Without the samples, a key that has used up its traffic limit would seem to have some left after a restart.
    """

    changes: KeyChanges = field(default_factory=KeyChanges)
    stops: tuple[Stop, ...] = ()
    samples: tuple[EpochSample, ...] = ()


class StopJournal(Protocol):
    """Holds one `HeldStops` at a time, outside of the database."""

    def keep(self, held: HeldStops) -> Holds:
        """Hold these stops in place of all earlier ones; return for how long they hold."""
        ...

    def read(self) -> HeldStops | None:
        """Return the stops that are held; None when there are none."""
        ...

    def clear(self) -> None:
        """Hold nothing any more."""
        ...


class NoJournal:
    """Implements `StopJournal` for a server whose stops end with it."""

    def keep(self, held: HeldStops) -> Holds:  # noqa: ARG002 - the protocol's
        """Return that they hold while the server runs."""
        return Holds.UNTIL_EXIT

    def read(self) -> HeldStops | None:
        """Return None."""
        return None

    def clear(self) -> None:
        """Do nothing."""
