"""Takes back what control planes that ended were placing on nodes."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.making.placing import Placing
from vpnkeys.interfaces import BRIEFLY_S
from vpnkeys.service.nodes.board import Board
from vpnkeys.worker import Job, Worker

_log = logging.getLogger(__name__)

_LEFT_AFTER_S: Final = 10.0
"""Longer than a request waits for a node and for the database."""
_OURS_AFTER_S: Final = 1.0
"""What this process does not wait for any more may have been stored between two looks at it."""
_JOB: Final = Job(
    name="placing",
    failing="keys that were not placed on their nodes could not be taken back",
    every_s=1.0,
    back_off_s=(1.0,),
    late_after_s=30.0,
    expected=(Unavailable,),
)


@dataclass(slots=True)
class LeftOver:
    """Looks once a second for keys that are being placed, and takes back those for which nobody waits any more.

    How long another process has been placing a key is seen here, by our own clock: two clocks may differ. Where the
    database is this process's own, nobody else does. A process that was taken for dead and goes on finds its key taken
    back when it would store it. Each server does this: to take back what another one has taken back changes nothing.
    """

    board: Board
    now: Callable[[], float]
    worker: Worker = field(init=False)
    _since: dict[tuple[str, str], float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Make the worker; nothing is taken back before it starts."""
        self.worker = Worker(_JOB, self.look)

    def look(self) -> float | None:
        """Take back what was left behind. Raises StoreUnavailable.

        Returns how long nothing can be found: without another node until one is made.
        """
        if not self.board.has_others():
            return self.board.rest_s
        now, placings = self.now(), self.board.store.for_nodes().placings
        others = {(one.key.id, one.owner): one for one in placings if not self.board.is_placing(one)}
        self._since = {name: self._since.get(name, now) for name in others}
        if left := [one for name, one in others.items() if self._is_left(name, now)]:
            self._take_back(left)
        return None

    def _take_back(self, left: Collection[Placing]) -> None:
        with self.board.store.write(patience_s=BRIEFLY_S) as transaction:
            gone = sum(transaction.nodes.drop_placings([one.key.id], one.owner) for one in left)
        if gone:
            _log.warning("%d keys that a server was placing when it ended are taken back", gone)
        for node_id in {one.key.node.id for one in left}:
            self.board.on_news(node_id)

    def _is_left(self, name: tuple[str, str], now: float) -> bool:
        if self.board.is_ours(name[1]):
            return now - self._since[name] >= _OURS_AFTER_S
        return not self.board.store.is_remote or now - self._since[name] >= _LEFT_AFTER_S
