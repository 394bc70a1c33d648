"""The check of each server name's REALITY target: TLS 1.3, h2 and a certificate for the name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vpnkeys.doctor.finding import Verdict, fail, ok, warn
from vpnkeys.doctor.installation import Installation
from vpnkeys.doctor.waiting import within
from vpnkeys.domain.target import TargetReport
from vpnkeys.xray.probe.targets import look_at

_WAIT_S = 13.0
"""A little more than the timeout of three connections to one target."""


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """A report on each name's target, and what a running server knows besides.

    `ready` is the number of names for new keys, None when the server does not run. `affected` counts, by server name,
    the active keys with which nobody gets in.
    """

    reports: tuple[TargetReport, ...]
    ready: int | None
    affected: Mapping[str, int] = field(default_factory=dict)


def look(installation: Installation) -> TargetFacts:
    """Connect to all targets at once from this host, and return the reports."""
    settings = installation.settings
    names = [(name, settings.reality_target or f"{name}:443") for name in settings.reality_server_names]
    seen = within(_WAIT_S, lambda name: look_at(*name, settings.xray_ca_file), names)
    late = [TargetReport(*name, problems=(f"{name[1]} does not answer in {_WAIT_S:.0f} s",)) for name in names]
    reports = tuple(report or without for report, without in zip(seen, late, strict=True))
    server = installation.server
    if server is None:
        return TargetFacts(reports, None)
    affected = {one.server_name: len(one.affected_keys) for one in server.system.targets().targets if one.affected_keys}
    return TargetFacts(reports, server.health().server_names_ready, affected)


def judge(facts: TargetFacts) -> Iterable[Verdict]:
    """Report each bad target: it harms the keys of its name. Without any good one no key can be made."""
    usable = [report for report in facts.reports if report.is_usable]
    for report in facts.reports:
        yield from (fail(f"{report.server_name}: {problem}") for problem in report.problems)
        yield from (warn(f"{report.server_name}: {warning}") for warning in report.warnings)
    for name, count in facts.affected.items():
        yield fail(
            f"nobody gets in with {count} active key(s) of {name}; `vpnkeys system targets` names them, and a key can "
            "have another server name",
            "vpnkeys keys rotate KEY --sni",
        )
    if facts.ready is not None and facts.ready < len(usable):
        yield warn(
            f"{len(usable)} targets are usable, but clients can connect with {facts.ready} of the names; right after a "
            "start, try again in some seconds"
        )
    elif len(usable) == len(facts.reports) and not facts.affected:
        yield ok(f"all {len(usable)} targets have TLS 1.3, h2 and a certificate for their name")
