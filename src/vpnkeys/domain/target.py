"""REALITY targets, and the results of their checks."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from vpnkeys.domain.key import Key
from vpnkeys.domain.portpool import is_port
from vpnkeys.domain.reached import is_ip

_TARGET = re.compile(
    r"(?:\[(?P<ipv6>(?=[^\]]*:)[0-9A-Fa-f:.]+)\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?):(?P<port>[0-9]+)"
)


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


def parse_target(value: object) -> str:
    """Return a target as Xray takes it, host:port, or an empty text for none. Raises ValueError."""
    target = _TARGET.fullmatch(str(value))
    is_fit = target is not None and is_port(target["port"]) and (not target["ipv6"] or is_ip(target["ipv6"]))
    if value and not is_fit:
        msg = "give host:port, such as www.example.com:443 or [2001:db8::1]:443, or nothing"
        raise ValueError(msg)
    return str(value)
