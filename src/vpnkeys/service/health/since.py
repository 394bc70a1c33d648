"""Keeps since when each problem has lasted."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

from vpnkeys.service.health.codes import TROUBLES, Code


class Problem(NamedTuple):
    """A problem of this moment. `since` is in Unix seconds."""

    code: Code
    since: int
    detail: str
    is_unhealthy: bool


class _Begin(NamedTuple):
    unix_s: int
    monotonic_s: float


@dataclass(slots=True)
class Since:
    """Remembers when each problem was first found. How long it has lasted does not depend on the time of day."""

    unix: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    _begun: dict[Code, _Begin] = field(default_factory=dict, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def problems(self, found: Mapping[Code, str]) -> tuple[Problem, ...]:
        """Return the problems to report, in the order of the table; those not found any more are forgotten."""
        now = _Begin(int(self.unix()), self.monotonic())
        with self._lock:
            self._begun = begun = {code: self._begun.get(code, now) for code in found}
        lasted = {code: now.monotonic_s - begin.monotonic_s for code, begin in begun.items()}
        return tuple(
            Problem(
                code,
                begun[code].unix_s,
                f"{trouble.says} ({found[code]})" if found[code] else trouble.says,
                lasted[code] >= trouble.unhealthy_after_s,
            )
            for code, trouble in TROUBLES.items()
            if code in found and lasted[code] >= trouble.after_s
        )
