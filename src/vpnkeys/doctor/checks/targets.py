"""The REALITY target of each server name: TLS 1.3, h2 and a certificate for the name."""

from collections.abc import Iterable
from dataclasses import dataclass

from vpnkeys.doctor.finding import Verdict, fail, ok, warn
from vpnkeys.doctor.installation import Installation
from vpnkeys.doctor.waiting import within
from vpnkeys.domain.target import TargetReport
from vpnkeys.xray.probe.targets import look_at

_WAIT_S = 13.0
"""A little more than three connections to one target may take."""


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What was seen of each name's target, and how many names the server hands out (None: it does not run)."""

    reports: tuple[TargetReport, ...]
    ready: int | None


def look(place: Installation) -> TargetFacts:
    """Shake hands with all of them now, from here."""
    settings = place.settings
    names = [(name, settings.reality_target or f"{name}:443") for name in settings.reality_server_names]
    seen = within(_WAIT_S, lambda name: look_at(*name, settings.xray_ca_file), names)
    late = [TargetReport(*name, problems=(f"{name[1]} does not answer in {_WAIT_S:.0f} s",)) for name in names]
    reports = tuple(report or without for report, without in zip(seen, late, strict=True))
    return TargetFacts(reports, None if place.server is None else place.server.health().server_names_ready)


def judge(facts: TargetFacts) -> Iterable[Verdict]:
    """One name without a target is a nuisance for its keys; without any no key can be made."""
    usable = [report for report in facts.reports if report.is_usable]
    for report in facts.reports:
        yield from (fail(f"{report.server_name}: {problem}") for problem in report.problems)
        yield from (warn(f"{report.server_name}: {warning}") for warning in report.warnings)
    if facts.ready is not None and facts.ready < len(usable):
        yield warn(
            f"{len(usable)} targets are fit, and clients get in with {facts.ready} of the names; right after a start "
            "that takes some seconds"
        )
    elif len(usable) == len(facts.reports):
        yield ok(f"all {len(usable)} targets speak TLS 1.3 and h2 and have a certificate for their name")
