"""What a real client finds when it tries a key's link."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How far the client got."""

    WORKS = "ok"
    PORT_SILENT = "port_not_listening"
    TARGET_GONE = "target_unreachable"
    REFUSED = "handshake_refused"
    NO_ANSWER = "no_answer"
    NO_CLIENT = "client_failed"


@dataclass(frozen=True, slots=True)
class Egress:
    """Whether the client got out again, to the key's own REALITY target; None when that could not be tried."""

    works: bool | None
    detail: str


NOT_TRIED = Egress(works=None, detail="not tried: the link does not get that far")


@dataclass(frozen=True, slots=True)
class Trial:
    """One try. `reason` adds to the outcome what was seen, in words.

    `handshake_s` is what TCP and REALITY took; `first_byte_s` the time from the request to the first byte of the
    answer, handshake included; None where it did not come to that.
    """

    outcome: Outcome
    reason: str = ""
    handshake_s: float | None = None
    first_byte_s: float | None = None
    bytes_received: int = 0
    egress: Egress = NOT_TRIED
