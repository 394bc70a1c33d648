"""Notes here which limits of keys elsewhere are reached: their nodes stop them by themselves."""

from dataclasses import dataclass, field
from datetime import datetime
from random import SystemRandom
from typing import Final

from vpnkeys.domain.change import Snapshot
from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.key import Key, Keys
from vpnkeys.domain.nodes import LOCAL
from vpnkeys.interfaces import BRIEFLY_S, Clock
from vpnkeys.service.limits.dates import DueDates
from vpnkeys.service.limits.striking import changed_by_limits
from vpnkeys.service.nodes.board import Board
from vpnkeys.worker import Job, Worker

_JOB: Final = Job(
    name="limits-elsewhere",
    failing="limits of keys on other nodes could not be noted",
    every_s=1.0,
    first_after_s=1.0,
    back_off_s=(1.0,),
    late_after_s=10.0,
    expected=(Unavailable,),
)


@dataclass(slots=True)
class FarLimits:
    """Compares the limits of keys on other nodes once a second: dates by the clock, traffic after a report."""

    board: Board
    clock: Clock
    worker: Worker = field(init=False)
    _has_traffic: bool = field(default=True, init=False)
    _hour: datetime | None = field(default=None, init=False)
    _keys: tuple[Key, ...] | None = field(default=None, init=False)
    _far: Keys = field(default_factory=Keys, init=False)
    _dates: DueDates = field(default_factory=DueDates, init=False)

    def __post_init__(self) -> None:
        """Make the worker; nothing is compared before it starts."""
        self.worker = Worker(_JOB, self.look)

    def note_traffic(self) -> None:
        """Note that a report has brought bytes."""
        self._has_traffic = True

    def look(self) -> None:
        """Store the status of keys whose limits are reached, or allow them again. Raises StoreUnavailable."""
        store, now = self.board.store, self.clock.now()
        if (keys := store.keys()) is not self._keys:
            self._keys, self._far = keys, Keys.of(keys).off(LOCAL.id)
            self._dates = DueDates.of(self._far)
        hour = now.replace(minute=0, second=0, microsecond=0)  # windows of traffic begin with one
        if not self._far or not (self._dates.is_due(now) or self._has_traffic or hour != self._hour):
            return
        self._has_traffic, self._hour = False, hour
        with self.board.deciding:
            far = Keys.of(store.keys()).off(LOCAL.id)
            seen = Snapshot(far, (), (), now, store.used_bytes, lambda _port: True, SystemRandom())
            changed = changed_by_limits(seen)
            if changed:
                with store.write(patience_s=BRIEFLY_S) as transaction:
                    transaction.update(*changed)
        for node_id in {key.node.id for key in changed}:
            self.board.on_news(node_id)
