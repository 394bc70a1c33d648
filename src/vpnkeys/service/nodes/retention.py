"""Adds hours of the history up that are long ago."""

from dataclasses import dataclass, field
from typing import Final

from vpnkeys.domain.errors import Unavailable
from vpnkeys.service.nodes.lease import Turn, always
from vpnkeys.service.traffic import TrafficService
from vpnkeys.worker import Job, Worker

_JOB: Final = Job(
    name="retention",
    failing="old hours of the history could not be added up",
    every_s=3600.0,
    first_after_s=60.0,
    back_off_s=(60.0,),
    late_after_s=86400.0,  # a reader of the history may take hours, such as a dump; nothing is lost meanwhile
    expected=(Unavailable,),
)


@dataclass(slots=True)
class Retention:
    """Looks once an hour; most times nothing is due. It is no part of the sampler, whose samples would wait for it."""

    traffic: TrafficService
    turn: Turn = always
    worker: Worker = field(init=False)

    def __post_init__(self) -> None:
        """Make the worker; nothing is changed before it starts."""
        self.worker = Worker(_JOB, self.look)

    def look(self) -> None:
        """Add up what is due. Raises StoreUnavailable."""
        if self.turn():
            self.traffic.fold_history()
