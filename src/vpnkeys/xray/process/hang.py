"""Notices an Xray that lives and answers nothing, or whose API's socket is gone, and ends it."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from vpnkeys.domain.errors import Unavailable, XrayUnavailable
from vpnkeys.worker import Job, Worker

_log = logging.getLogger(__name__)

HUNG_AFTER_S: Final = 10.0
STARTED_WITHIN_S: Final = 120.0
"""Time until the first answer: with thousands of keys Xray opens its API after all of them."""
_TOLD_AFTER_S: Final = 5.0
_ASK_EVERY_S = 1.0
_ASK_AGAIN_S = 0.5
_LEAST_QUESTIONS = 4
"""Unanswered questions before Xray is ended, for when this process itself stood still for ten seconds."""
_JOB = Job(
    name="xray-hang-watch",
    failing="Xray hangs and could not be ended",
    every_s=_ASK_EVERY_S,
    back_off_s=(_ASK_EVERY_S, 5.0, 30.0),
    late_after_s=30.0,
    expected=(Unavailable, OSError),
)


class Endable(Protocol):
    """A process of Xray that its supervisor starts again when it ends."""

    @property
    def pid(self) -> int | None:
        """The present process id; None when there is none."""
        ...

    def kill(self, pid: int) -> None:
        """End the process with this id at once, if it is still Xray's. Raises XrayUnavailable."""
        ...


@dataclass(slots=True)
class HangWatch:
    """Asks Xray every second, and ends it when it has not answered for ten while its process lives.

    `ask` raises XrayUnavailable when there is no answer within its deadline. `sample` takes a last sample of traffic
    before Xray is ended; when it succeeds, Xray answers after all and goes on. `find` returns the process to which
    the API's socket leads: what is connected is answered also when the socket was removed, and nobody else can connect.
    All times are monotonic.
    """

    process: Endable
    ask: Callable[[], None]
    sample: Callable[[], None]
    find: Callable[[], int]
    now: Callable[[], float] = time.monotonic
    worker: Worker = field(init=False)
    _pid: int | None = field(default=None, init=False)
    _silent_since: float = field(default=0.0, init=False)  # when the first question without an answer was asked
    _unanswered: int = field(default=0, init=False)
    _is_starting: bool = field(default=True, init=False)
    _is_told: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Make the worker; nothing is asked before it starts."""
        self.worker = Worker(_JOB, self.look)

    @property
    def silent_for_s(self) -> float:
        """Return for how long Xray's process has lived without an answer; 0 while it answers or does not live."""
        return self.now() - self._silent_since if self._unanswered else 0.0

    def require_answer(self) -> None:
        """Raise XrayUnavailable if the last question was not answered, or no process lives; nothing is asked."""
        if self._pid is None or self._unanswered:
            msg = "Xray did not answer when it was asked last."
            raise XrayUnavailable(msg)

    def look(self) -> float | None:
        """Ask once, and end Xray if it hangs; return the wait before the next question. Raises XrayUnavailable."""
        pid = self.process.pid
        if pid is None or pid != self._pid:
            self._pid, self._unanswered, self._is_starting, self._is_told = pid, 0, True, False
        if pid is None:
            return _ASK_AGAIN_S
        if self._unanswered == 0:
            self._silent_since = self.now()
        try:
            self.ask()
            self._is_starting = False
            self._require_socket(pid)
        except XrayUnavailable:
            self._unanswered += 1
            self._tell_of_slow_start(pid)
        else:
            self._note_answer()
            return None
        if self._is_hung():
            self._end(pid)
        return _ASK_AGAIN_S

    def _require_socket(self, pid: int) -> None:
        if self.find() != pid:
            msg = "The socket of Xray's API leads to another process."
            raise XrayUnavailable(msg)

    def _note_answer(self) -> None:
        self._unanswered, self._is_starting = 0, False

    def _tell_of_slow_start(self, pid: int) -> None:
        """Log once for each process that it has not answered since its start, and how long it may take."""
        if self._is_starting and not self._is_told and self.silent_for_s >= _TOLD_AFTER_S:
            self._is_told = True
            _log.warning(
                "Xray (process %d) was started and has not answered for %.0f s; it is ended after %.0f s without an "
                "answer. If that repeats, try the program by hand: VPNKEYS_XRAY_BIN may name one that does not work",
                pid,
                self.silent_for_s,
                STARTED_WITHIN_S,
            )

    def _is_hung(self) -> bool:
        patience_s = STARTED_WITHIN_S if self._is_starting else HUNG_AFTER_S
        return self._unanswered >= _LEAST_QUESTIONS and self.silent_for_s >= patience_s

    def _end(self, pid: int) -> None:
        try:
            self.sample()
            # The sample may have come by a connection that was open before the socket was gone.
            self._require_socket(pid)
        except Unavailable:
            _log.error(
                "Xray (process %d) lives and has not answered on the socket of its API for %.0f s; it is ended, and "
                "its supervisor starts it again",
                pid,
                self.silent_for_s,
            )
            # SIGKILL, not SIGTERM: what hangs would only use up the time that customers wait.
            self.process.kill(pid)
        else:
            self._note_answer()
