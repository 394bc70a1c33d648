"""`/api/events`: what changes, as it changes.

The format is that of the HTML standard, "Server-sent events": `event:` and `data:` lines, and an empty line after each.
"""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from vpnkeys.client._errors import UnexpectedAnswer


class StreamEvent(NamedTuple):
    """Something that changed, as JSON. `keys` is as GET /api/keys, `traffic` as GET /api/traffic, `health` as /health.

    A newer server may have others.
    """

    name: str
    data: Any


@dataclass(slots=True)
class EventReader:
    """Reads the events of a stream that comes in pieces of any size."""

    _begun: bytes = b""

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        """Return the events that end in this piece. Raises UnexpectedAnswer.

        Bytes are split, not text: for text, characters that a key's name may have would end a line as well.
        """
        *whole, self._begun = (self._begun + chunk).split(b"\n\n")
        return [_event(block) for block in whole]


def _event(block: bytes) -> StreamEvent:
    fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
    try:
        return StreamEvent(fields[b"event"].decode(), json.loads(fields[b"data"]))
    except (KeyError, ValueError, RecursionError) as error:
        detail = f"The server's event is not what it should be: {error}"
        raise UnexpectedAnswer(None, "unexpected_answer", detail) from error
