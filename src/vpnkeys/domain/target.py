"""The result of a check of a REALITY target."""

from collections.abc import Iterable
from dataclasses import dataclass

from vpnkeys.domain.key import Key


@dataclass(frozen=True, slots=True)
class TargetReport:
    """A report on the target of one server name, in words that an operator can act on.

    `problems` keep the name from new keys: clients could not connect, or a probe could tell the server from the target.
    `warnings` do not. `handshake_s` is the time to connect and shake hands; `address` is the IP address and port that
    answered.
    """

    server_name: str
    target: str
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    handshake_s: float = 0.0
    address: tuple[str, int] | None = None

    @property
    def is_usable(self) -> bool:
        """Whether new keys may use this name."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class TargetUse:
    """A report on a target, with the active keys that have its name."""

    report: TargetReport
    keys: tuple[Key, ...]

    @property
    def affected(self) -> tuple[Key, ...]:
        """The keys with which nobody gets in, because the target is not usable."""
        return () if self.report.is_usable else self.keys


def uses(reports: Iterable[TargetReport], keys: Iterable[Key]) -> tuple[TargetUse, ...]:
    """Return the reports, each with the active keys among these that have its name."""
    active: dict[str, list[Key]] = {}
    for key in keys:
        if key.serves:
            active.setdefault(key.sni, []).append(key)
    return tuple(TargetUse(report, tuple(active.get(report.server_name, ()))) for report in reports)
