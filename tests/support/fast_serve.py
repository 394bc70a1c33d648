"""`vpnkeys serve` by a clock that runs faster: a day passes in minutes, and goes on where it was after a restart.

`FAST_CLOCK` is "FACTOR:BEGIN": from the moment BEGIN (Unix seconds) on, each second is FACTOR seconds.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

from vpnkeys.bootstrap import construction
from vpnkeys.cli.commands.serve import serve


class FastClock:
    """The host's clock, accelerated."""

    def __init__(self) -> None:
        factor, begin = os.environ["FAST_CLOCK"].split(":")
        self._factor, self._begin = float(factor), float(begin)

    def now(self) -> datetime:
        """UTC, without an offset."""
        moment = self._begin + self._factor * (time.time() - self._begin)
        return datetime.fromtimestamp(moment, UTC).replace(tzinfo=None)


if __name__ == "__main__":
    construction.SystemClock = FastClock  # type: ignore[attr-defined,assignment]  # that is the point
    serve()
