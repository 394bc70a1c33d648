"""The result of a trial: a real client connects with a key's link."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """An outcome says how far the client got."""

    WORKS = "ok"
    PORT_SILENT = "port_not_listening"
    TARGET_DOWN = "target_down"
    REFUSED = "handshake_refused"
    NO_ANSWER = "no_answer"
    NO_CLIENT = "client_failed"


@dataclass(frozen=True, slots=True)
class Egress:
    """Whether the client reached the internet, tried with the key's own REALITY target; None when it was not tried."""

    works: bool | None
    detail: str


NOT_TRIED = Egress(works=None, detail="not tried: the link does not get that far")


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of one trial. `reason` describes in words what was seen.

    `handshake_s` is the time for TCP and REALITY; `first_byte_s` the time from the request to the first byte of the
    answer, handshake included. Each is None when the trial ended before it.
    """

    outcome: Outcome
    reason: str = ""
    handshake_s: float | None = None
    first_byte_s: float | None = None
    bytes_received: int = 0
    egress: Egress = NOT_TRIED
