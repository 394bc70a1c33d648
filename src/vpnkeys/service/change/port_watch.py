"""Looks whether Xray, and nothing else, listens on the ports of keys, so that a difference is not left for minutes."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.plan import Listening
from vpnkeys.service.reconcile import Reconciler
from vpnkeys.worker import Job, Worker

_LOOK_EVERY_S: Final = 2.0
_REST = 100  # at most so small a part of one processor is spent on looking
_JOB = Job(
    name="port-watch",
    failing="the ports of keys could not be looked at",
    every_s=_LOOK_EVERY_S,
    back_off_s=(_LOOK_EVERY_S, 30.0),
    late_after_s=60.0,
    expected=(OSError, Unavailable),
    quiet_s=10.0,
)


@dataclass(slots=True)
class PortWatch:
    """Wakes the repairer when Xray does not listen for a key, and notes where another program listens beside it.

    What is found at one look may be a change that is under way; what two in a row find is so. Xray is not asked: the
    kernel's list of sockets costs less.
    """

    reconciler: Reconciler
    listening: Callable[[Collection[int]], Listening]
    worker: Worker = field(init=False)
    _silent: frozenset[int] = field(default=frozenset(), init=False)
    _shared: frozenset[int] = field(default=frozenset(), init=False)

    def __post_init__(self) -> None:
        """Make the worker; nothing is looked at before it starts."""
        self.worker = Worker(_JOB, self.look)

    def look(self) -> float:
        """Look once; return after how many seconds to look again. Raises OSError, Unavailable."""
        began, reconciler = time.monotonic(), self.reconciler
        inbounds = reconciler.desired(reconciler.stops.last_keys())
        wanted = frozenset(inbound.port for inbound in inbounds if inbound.port is not None)
        seen = self.listening(wanted)
        reconciler.taken.note_beside(self._shared & seen.shared)
        silent, self._shared = wanted - seen.own - reconciler.taken.ports, seen.shared
        if self._silent & silent:
            reconciler.worker.wake()
            # Begins anew, or a repair that takes longer than a look would be asked for again and again.
            silent = frozenset()
        self._silent = silent
        return max(_LOOK_EVERY_S, _REST * (time.monotonic() - began))
