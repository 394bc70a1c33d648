"""Joins what the test client and the targets say of server names: which can be given to a key now."""

import logging
import random
import time
from dataclasses import dataclass, replace

from vpnkeys.domain.target import TargetReport
from vpnkeys.xray.probe.flight import FlightUnfit, check_target
from vpnkeys.xray.probe.server_names import ServerNameProber
from vpnkeys.xray.probe.targets import TargetWatch, failure_of

_log = logging.getLogger(__name__)

_CHANCE = random.SystemRandom()
_ASK_AGAIN_S = 0.05
_AT_ONCE_S = 2.0  # for an answer while the maker of a key waits


@dataclass(frozen=True, slots=True)
class ServerNames:
    """Answers questions about server names from the prober's results and the targets' reports."""

    prober: ServerNameProber
    targets: TargetWatch

    def ready(self, wait_s: float = 0.0) -> frozenset[str]:
        """Return the tested names whose targets are usable; wait up to `wait_s` for the first one."""
        ends_at = time.monotonic() + wait_s
        while not (ready := self.prober.ready & self.targets.usable):
            left_s = ends_at - time.monotonic()
            # None was tested with success although the prober has waited: no name works.
            if left_s <= 0 or not self.prober.wait_ready(left_s):
                break
            time.sleep(_ASK_AGAIN_S)
        return ready

    def working(self, most: int, wait_s: float, but: str = "") -> frozenset[str]:
        """Return up to `most` ready names, chosen at random, whose targets answer at this moment as REALITY needs.

        A name whose target does not is taken back until a client gets through it. Waits up to `wait_s` for the first.
        """
        ends_at, found = time.monotonic() + wait_s, set[str]()
        while not found:
            ready = self.ready(max(ends_at - time.monotonic(), 0.0)) - {but}
            for name in _CHANCE.sample(sorted(ready), len(ready)):
                if self._still_works(name):
                    found.add(name)
                if len(found) >= most or time.monotonic() >= ends_at:
                    break
            if not ready or time.monotonic() >= ends_at:
                break
        return frozenset(found)

    def _still_works(self, name: str) -> bool:
        problem = self._problem_at_once(name)
        if problem:
            _log.warning("%s is tested again before it is given to a key: %s", name, problem)
            self.prober.suspect(name)
        return not problem

    def reports(self) -> tuple[TargetReport, ...]:
        """Return the latest report of each target; a name that lets no test client in has a problem."""
        return self._with_clients(self.targets.seen())

    def check_all(self) -> tuple[TargetReport, ...]:
        """Check all targets now; return their reports."""
        return self._with_clients(self.targets.look())

    def problem_of(self, name: str) -> str:
        """Return why clients cannot get in by a name now; an empty text when they can, or when nothing is known of it.

        Xray imitates the target's handshake for every connection, so a bad target keeps all clients of its name out.
        """
        report = next((seen for seen in self.reports() if seen.server_name == name), None)
        if report is None:
            return ""
        return next(iter(report.problems), "") or self._problem_at_once(name)

    def _problem_at_once(self, name: str) -> str:
        """Return why REALITY could not use a name's target at this moment; an empty text when it could.

        A failure makes the next question to all of them due.
        """
        report = self.targets.reports.get(name)
        if report is None or report.address is None:
            return "its target has not answered yet"
        try:
            check_target(report.target, name, report.address, _AT_ONCE_S)
        except (OSError, FlightUnfit) as error:
            self.targets.worker.wake()
            return failure_of(report.target, error)
        return ""

    def _with_clients(self, reports: tuple[TargetReport, ...]) -> tuple[TargetReport, ...]:
        failing = self.prober.failing
        return tuple(
            replace(
                report, problems=(f"{report.target} answers, but no client gets through; choose another server name",)
            )
            if report.is_usable and report.server_name in failing
            else report
            for report in reports
        )
