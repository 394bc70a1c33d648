"""Notices what other processes have changed, and what agents have told other control planes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from vpnkeys.domain.errors import Unavailable
from vpnkeys.service.nodes.board import Board
from vpnkeys.worker import Job, Worker

_LOOK_EVERY_S: Final = 1.0
_JOB: Final = Job(
    name="database-watch",
    failing="what other processes change in the database is not seen",
    every_s=0.01,
    back_off_s=(_LOOK_EVERY_S,),
    late_after_s=10.0,
    expected=(Unavailable,),
    stop_within_s=1.5,
)


@dataclass(slots=True)
class DatabaseWatch:
    """Looks when it hears of a change, and once a second in any case: what is heard may be lost.

    `wait` returns when there may be something new, after so many seconds at most. It is None where nothing can be heard
    of, as no other control plane shares the database: an import or a command may change keys.
    """

    board: Board
    wait: Callable[[float], None] | None
    worker: Worker = field(init=False)

    def __post_init__(self) -> None:
        """Make the worker; nothing is looked at before it starts."""
        self.worker = Worker(_JOB, self.look)

    def look(self) -> float | None:
        """Wait, and look; return how long to rest, where there is no other node. Raises StoreUnavailable."""
        if self.wait is not None:
            self.wait(_LOOK_EVERY_S)
        self.board.store.look()
        if not self.board.has_others():
            return self.board.rest_s
        if self.wait is None:
            self.board.look(self.board.store.for_nodes())
            return _LOOK_EVERY_S
        self.board.refresh()
        return None
