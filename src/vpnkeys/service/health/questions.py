"""Examines Xray, the database and this host in the background, so that `/health` answers at once.

Each question is a worker. One that gets no answer, or an error, is late, also while it hangs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from vpnkeys.domain.change import KeptAnswer
from vpnkeys.domain.errors import Unavailable
from vpnkeys.interfaces import Clock, Store
from vpnkeys.service.health.checks import ASK_XRAY, WRITE_DATABASE, HostFacts
from vpnkeys.worker import Job, Worker

_ROW = "no request: health is checked by writing here"
_STOP_WITHIN_S = 0.5  # nothing is lost when a question is left hanging

_XRAY = Job(
    name=ASK_XRAY,
    failing="Xray does not answer",
    every_s=2.0,
    back_off_s=(1.0,),
    late_after_s=3.0,
    expected=(Unavailable,),
    quiet_s=3.0,
    stop_within_s=_STOP_WITHIN_S,
)
_DATABASE = Job(
    name=WRITE_DATABASE,
    failing="the database takes no writes",
    every_s=5.0,
    back_off_s=(1.0,),
    late_after_s=4.0,
    expected=(Unavailable,),
    stop_within_s=_STOP_WITHIN_S,
)
_HOST = Job(
    name="look-at-host",
    failing="the host could not be examined",
    every_s=5.0,
    back_off_s=(5.0,),
    late_after_s=20.0,
    expected=(OSError,),
    stop_within_s=_STOP_WITHIN_S,
)


@dataclass(slots=True)
class Questions:
    """The three workers, and the last answer of the host.

    `require_answer` raises XrayUnavailable when Xray did not answer its last call; a frozen one accepts connections.
    None where there is no Xray.
    """

    require_answer: Callable[[], None] | None
    look_at_host: Callable[[], HostFacts]
    store: Store
    clock: Clock
    workers: tuple[Worker, ...] = field(init=False)
    host: HostFacts = field(default=HostFacts(), init=False)

    def __post_init__(self) -> None:
        """Make the workers; they ask when they are started."""
        self.workers = (
            *(() if self.require_answer is None else (Worker(_XRAY, self.require_answer),)),
            Worker(_DATABASE, self.write),
            Worker(_HOST, self._look),
        )

    def write(self) -> None:
        """Replace one row, always the same, and try out what a change of keys needs. Raises StoreUnavailable."""
        # It need not be durable: a write each five seconds must not wear the disk out by fsync.
        self.store.try_out(KeptAnswer(_ROW, "", "", self.clock.now()))

    def _look(self) -> None:
        self.host = self.look_at_host()
